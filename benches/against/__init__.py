"""The parts of benches/against_bake."""
