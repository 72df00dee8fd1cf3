"""Mistakes of users, as operators that put one into any program that it fits."""

from edgeglass_models.exam.operators.architecture import architecture
from edgeglass_models.exam.operators.attention import attention
from edgeglass_models.exam.operators.checkpoint import checkpoint
from edgeglass_models.exam.operators.data import data
from edgeglass_models.exam.operators.evaluation import evaluation
from edgeglass_models.exam.operators.freezing import freezing
from edgeglass_models.exam.operators.gradients import gradients
from edgeglass_models.exam.operators.initialisation import initialisation
from edgeglass_models.exam.operators.losses import losses
from edgeglass_models.exam.operators.normalisation import normalisation
from edgeglass_models.exam.operators.operator import Family, Operator
from edgeglass_models.exam.operators.optimizer import optimizer
from edgeglass_models.exam.operators.pairing import pairing
from edgeglass_models.exam.operators.precision import precision
from edgeglass_models.exam.operators.schedule import schedule
from edgeglass_models.exam.operators.targets import targets
from edgeglass_models.exam.operators.temperature import temperature
from edgeglass_models.exam.operators.tokens import tokens

FAMILIES: tuple[Family, ...] = (
    data, pairing, tokens, targets, losses, normalisation, temperature, optimizer, schedule, gradients, precision,
    freezing, initialisation, architecture, attention, checkpoint, evaluation,
)  # fmt: skip
"""All families of operators."""

OPERATORS: tuple[Operator, ...] = tuple(operator for family in FAMILIES for operator in family.operators)
"""All operators."""
