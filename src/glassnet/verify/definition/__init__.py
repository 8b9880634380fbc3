"""Networks and trainings once more, written from the papers in torch's functions, beside both engines.

The engines share ``assemble``, the initial weights, the schedules and the groups of parameters, and would be wrong
together there. This package shares no code with them: it reads a spec and a recipe, and nothing else.
"""
