"""What is wrong with a request, or why it cannot be answered now, as an HTTP status and one sentence."""


class RequestError(Exception):
    """Becomes the answer `{"error": message}`.

    Attributes:
      status: of HTTP.
      message: what is wrong and, where the client can mend it, how.
      retry_after: seconds after which the same request may succeed; None if it never will.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None):
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after
