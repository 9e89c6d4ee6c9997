"""The names of the room; tests/tools/test_get_energy.py measures."""
from respike_mmaction import energy


def test_the_module_and_the_function_have_names_of_their_own():
    assert energy.measure is energy.measurement.measure
