"""Eager tasks: a received message resumes the task that waits for it at once, from within the read.

Theory of operation
===================

A task that waits for a message waits for an EagerFuture instead of an asyncio.Future. When a read has queued messages,
the EagerFuture executes the task's next step immediately: one iteration of the event loop earlier than a Future would,
and all that the task then sends leaves in the one write of that read. This is safe when no other task is running, as in
a callback of a transport; otherwise an EagerFuture schedules the step, as a Future does.

To step a task costs asyncio 6,300 instructions. So a server runs a handler's coroutine inside an EagerTask, which is
the coroutine of an ordinary asyncio.Task. While the handler waits for messages only, its task stays suspended on one
future, which is the EagerTask itself, and each message resumes the handler's coroutine directly, with the task as the
current one (asyncio's documentation, "Extending", "Task lifetime support"). As soon as the handler does anything else -
waits for another awaitable, returns, raises - the EagerTask completes, and the asyncio.Task wakes and gets the result
of that step, which the EagerTask has kept.

An EagerTask is thus *ahead* of its asyncio.Task from the moment when its coroutine has yielded or raised something that
the task has to process, until the task has been told by __next__() or throw().
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, InvalidStateError, Task, current_task
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from .. import native


class EagerFuture:
    """The part of asyncio.Future that a waiting task needs. It has no result, and one task may wait for it.

    Args:
        loop: the event loop of that task.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_callback",
        "_cancel_message",
        "_context",
        "_eager_task",
        "_is_cancelled",
        "_is_done",
        "_loop",
    )

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._asyncio_future_blocking = True
        # What waits: a callback of an asyncio.Task, or an EagerTask.
        self._callback: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._eager_task: EagerTask | None = None
        # The result.
        self._is_done = False
        self._is_cancelled = False
        self._cancel_message: Any = None

    def wake(self) -> None:
        """Resume the waiting task: at once if no task is running, else in the next iteration of the loop."""
        if self._is_done:
            return
        self._is_done = True
        eager_task = self._eager_task
        if eager_task is not None:
            self._eager_task = None
            eager_task.step()
            return
        callback, context = self._callback, self._context
        self._callback = self._context = None
        if callback is None:
            return
        if context is None or current_task(self._loop) is not None:
            self._loop.call_soon(callback, self, context=context)
        else:
            try:
                context.run(callback, self)
            except BaseException as error:  # sys.exit() in the task must end the loop, and not the read
                self._loop.call_soon(_raise, error)
        callback = None  # an exception of the task has this frame, and the callback has the task

    def is_idle(self, loop: AbstractEventLoop) -> bool:
        """Return True if the wait is not over and no task of the loop has begun to wait."""
        return not self._is_done and self._callback is None and self._loop is loop

    def wait_in(self, eager_task: EagerTask) -> None:
        """Let an EagerTask wait, in the place of an asyncio.Task."""
        self._eager_task = eager_task

    def waiting_task(self) -> Any:
        """Return the asyncio.Task that waits; None if none does."""
        return getattr(self._callback, "__self__", None) if self._eager_task is None else self._eager_task.task

    def get_loop(self) -> AbstractEventLoop:
        """Return the loop of the waiting task."""
        return self._loop

    def done(self) -> bool:
        """Return True if the wait is over."""
        return self._is_done

    def cancelled(self) -> bool:
        """Return True if the wait was cancelled."""
        return self._is_cancelled

    def result(self) -> None:
        """Return None.

        Raises:
            CancelledError: the wait was cancelled.
            asyncio.InvalidStateError: the wait is not over.
        """
        if self._is_cancelled:
            raise CancelledError() if self._cancel_message is None else CancelledError(self._cancel_message)
        if not self._is_done:
            raise InvalidStateError("the wait is not over")

    def exception(self) -> None:
        """Do as result()."""
        self.result()

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Call the function when the wait is over; a task calls this once."""
        if self._is_done:
            self._loop.call_soon(callback, self, context=context)
        else:
            self._callback = callback
            self._context = context

    def remove_done_callback(self, callback: Callable[[Any], object]) -> int:
        """Undo add_done_callback(), and return the number of callbacks that were removed."""
        if self._callback is None or self._callback != callback:
            return 0
        self._callback = self._context = None
        return 1

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the wait, and nothing else; return False if it was over."""
        if self._is_done:
            return False
        self._is_done = True
        self._is_cancelled = True
        self._cancel_message = msg
        self._eager_task = None
        callback, context = self._callback, self._context
        self._callback = self._context = None
        if callback is not None:
            self._loop.call_soon(callback, self, context=context)
        return True


class EagerTask(EagerFuture):
    """The coroutine of an asyncio.Task, around another one; and the future that the task waits for meanwhile.

    Args:
        loop: the event loop of the task.
        coroutine: the other coroutine.

    Attributes:
        task: the asyncio.Task; None unless it waits for this.
    """

    __slots__ = ("_coroutine", "_error", "_is_ahead", "_waiter", "_yielded", "task")

    def __init__(self, loop: AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]) -> None:
        EagerFuture.__init__(self, loop)
        self._coroutine = coroutine
        self.task: Task[Any] | None = None
        self._waiter: EagerFuture | None = None  # the coroutine waits for this
        # The step that the task has not been told of.
        self._is_ahead = False
        self._yielded: Any = None
        self._error: BaseException | None = None  # StopIteration if the coroutine has returned

    def step(self) -> None:
        """Execute a step of the coroutine: the message that it waits for has arrived."""
        self._waiter = None
        loop: Any = self._loop
        task: Any = self.task
        try:
            _enter_task(loop, task)
        except Exception:  # another task is running, or there is no memory
            self.wake()
            return
        try:
            self._yielded = native.step(self._coroutine, self._context)  # type: ignore[arg-type]  # set by the task
        except BaseException as error:
            self._error = error
        _leave_task(loop, task)
        task = None  # as in wake()
        if self._is_ahead or self._error is not None or not self._waits_for(self._yielded):
            self._is_ahead = True
            self.wake()

    def _waits_for(self, yielded: Any) -> bool:
        """If the coroutine waits for a message, wait in its place, and return True."""
        if type(yielded) is not EagerFuture:
            return False
        waiter: EagerFuture = yielded
        if not waiter.is_idle(self._loop):
            return False
        waiter.wait_in(self)
        self._waiter = waiter
        self._yielded = None
        return True

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the wait. There is none during a step; then the task itself has to remember the cancellation."""
        if self._waiter is None:
            if not self._is_done:
                self._is_ahead = True
            return False
        self._waiter.cancel()
        self._waiter = None
        return EagerFuture.cancel(self, msg)

    # The coroutine of the task.

    def __await__(self) -> EagerTask:
        return self

    def __iter__(self) -> EagerTask:
        return self

    def __next__(self) -> Any:
        if self._is_ahead:
            return self._catch_up()
        try:
            return self._await(self._coroutine.send(None))
        except BaseException:
            self.task = None
            raise

    def send(self, value: None) -> Any:
        """Execute a step."""
        return self.__next__()

    def throw(self, kind: Any, error: Any = None, traceback: Any = None) -> Any:
        """Execute a step that begins with an exception."""
        exception = kind if error is None else error
        try:
            if self._is_ahead:  # the coroutine was cancelled by itself, during a step
                yielded = self._catch_up(exception)
                # As a task does: cancel what is waited for, and throw only if that is not possible.
                if hasattr(yielded, "_asyncio_future_blocking") and yielded.cancel(*exception.args[:1]):
                    return yielded
            return self._await(self._coroutine.throw(exception))
        except BaseException:
            self.task = None
            raise
        finally:
            kind = error = exception = None  # the exception has this frame

    def close(self) -> None:
        """End the coroutine."""
        self._coroutine.close()

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the coroutine: its name, code and frame are printed for the task."""
        return getattr(self._coroutine, name)

    def _await(self, yielded: Any) -> Any:
        """Return the future that the task is to wait for."""
        if not self._waits_for(yielded):
            return yielded
        if self.task is None:
            self.task = current_task()
        self._is_done = self._is_cancelled = False
        self._asyncio_future_blocking = True
        return self

    def _catch_up(self, instead: BaseException | None = None) -> Any:
        """Return or raise the result of the step that the task has not been told of.

        Args:
            instead: the exception to raise if the coroutine has returned.
        """
        self._is_ahead = False
        yielded, error = self._yielded, self._error
        self._yielded = self._error = None
        if error is None:
            return yielded
        self.task = None
        try:
            raise instead if instead is not None and isinstance(error, StopIteration) else error
        finally:
            error = instead = None


def _raise(error: BaseException) -> None:
    raise error
