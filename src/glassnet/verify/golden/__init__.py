"""Golden references: every number of a network and a training, and a checker that says what is wrong with a port."""
