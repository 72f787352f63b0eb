"""Answers of models on their way back: kept with the prompt that they answer, and named."""

from .answers import Answers
from .keeping import AnsweredTurn, Named
from .limits import AnswerLimits

__all__ = ["AnswerLimits", "AnsweredTurn", "Answers", "Named"]
