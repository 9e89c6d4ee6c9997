"""Readers of video files, one a library, and what they share."""
