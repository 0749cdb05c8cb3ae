"""What can go wrong with an answer, and with what runs it."""


class AnswerError(RuntimeError):
    """The answer raised, took too long, or ended its process. The message is for the student."""


class NotAttempted(AnswerError):
    """The stub is still there."""


class NoVerdict(Exception):
    """Trouble of the grader's own, which says nothing about the answer."""


class ServerLost(NoVerdict):
    """The grader's own process in the sandbox is gone."""


class NoSandbox(ValueError):
    """No level of isolation works here, or none of those that were asked for."""
