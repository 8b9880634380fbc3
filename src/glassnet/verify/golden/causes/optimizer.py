"""The search for the cause of a fault in an optimizer's step: which other rule gives the port's own numbers?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from glassnet.errors import GlassnetError
from glassnet.verify.golden.causes import UNKNOWN
from glassnet.verify.golden.causes.alternative import InapplicableError
from glassnet.verify.golden.causes.search import Cause, find_cause
from glassnet.verify.golden.causes.update_rules import RULES
from glassnet.verify.golden.operations import Operation
from glassnet.verify.golden.steps import StepJudgement
from glassnet.verify.golden.updates import RULE, Rule, Step

SHRINK = 2.0  # a cause must bring an error down by this factor, and below the tolerance


def find_update_cause(fault: StepJudgement, judgements: Sequence[StepJudgement]) -> Cause:
    """Return the cause that explains a fault in a step, ``unknown`` if there is none.

    It explains all other faults of the step that are of the same kind, and leaves right what was right before. Of
    several it is the one that explains most of the other tensors of the training.

    :param judgements: all of the training, in order.
    """
    judged = [judgement for judgement in judgements if not judgement.row.not_judged]
    needed = [judgement for judgement in judged if judgement.stage <= fault.stage and judgement is not fault]
    needed.sort(key=lambda judgement: judgement.row.passed)  # faults first
    others = [judgement for judgement in judged if judgement.stage > fault.stage]
    found, most = UNKNOWN, 0
    for key, rule in RULES:
        steps = _steps(judgements[-1].step, rule)
        if all(_agrees(judgement, steps) for judgement in chain([fault], needed)):
            count = 1 + sum(_agrees(judgement, steps) for judgement in others)
            if count > most:
                found, most = key, count
    if found == UNKNOWN and fault.of_pass is not None:
        passes = [judgement.of_pass for judgement in judged if judgement.stage == fault.stage]
        return find_cause(fault.of_pass, [judgement for judgement in passes if judgement is not None])
    return Cause(found, Operation(fault.row.operation, fault.row.kind, (), ()))


def _steps(last: Step, rule: Rule) -> dict[int, Step]:
    """Return all steps of a training by number, computed in another way."""
    steps: dict[int, Step] = {}
    step: Step | None = last.with_rule(rule)
    while step:
        steps[step.number], step = step, step.before
    return steps


def _agrees(judgement: StepJudgement, steps: dict[int, Step]) -> bool:
    """Whether a tensor is right in these steps. A fault must shrink, which is seen before the tolerance is measured."""
    step, first = steps[judgement.step.number], judgement.row
    if judgement.stage[1] < 2 and step.same_pass and step.rule.gradient is RULE.gradient:
        return first.passed
    try:
        if not first.passed and np.isfinite(first.error) and judgement.distance(step) > first.error / SHRINK:
            return False
        row = judgement.judge(step)
    except (InapplicableError, GlassnetError):  # a backward pass in evaluation mode
        return False
    return row.passed and not row.not_judged
