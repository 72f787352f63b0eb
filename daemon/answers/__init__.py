"""Answers of models on their way back: kept with the prompt that they answer, and named."""

from .answers import AnsweredTurn, Answers, Named
from .limits import AnswerLimits

__all__ = ["AnswerLimits", "AnsweredTurn", "Answers", "Named"]
