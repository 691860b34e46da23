"""A job has ended badly, or is not in the state for what is asked."""

from imgsvc.errors.base import ImgsvcError


class JobTimeout(ImgsvcError):
    """The job took longer than allowed and was stopped. Try again with less to do."""

    status = 504
    code = "job_timed_out"
    title = "Job timed out"


class JobCancelled(ImgsvcError):
    """The job was cancelled. Retry it, or submit it again, if the result is still wanted."""

    status = 409
    code = "job_cancelled"
    title = "Job cancelled"


class JobPoisoned(ImgsvcError):
    """The service was lost each time it began this job. Try again with another image."""

    code = "job_poisoned"
    title = "Job given up"


class PayloadLost(ImgsvcError):
    """What came with the request is no longer on the server's disk. Send it again."""

    status = 410
    code = "payload_lost"
    title = "Payload lost"


class JobError(ImgsvcError):
    """The job is not in the state for this."""

    status = 409
    code = "job_error"
    title = "Job in another state"


class JobNotFound(JobError):
    """There is no job with this id, or no longer: finished jobs are kept for some days."""

    status = 404
    code = "job_not_found"
    title = "Job not found"


class JobFinished(JobError):
    """The job has ended already, so it cannot be cancelled."""

    code = "job_finished"
    title = "Job finished"

    def __init__(self, state: str) -> None:
        self.state = state
        super().__init__(f"The job has ended already, as {state}: it cannot be cancelled.")


class JobNotFinished(JobError):
    """The job has not ended yet. Wait for its callback, or ask again later."""

    code = "job_not_finished"
    title = "Job not finished"
    retryable = True
    retry_after = 2


class JobHasNoResult(JobError):
    """The job ended without a result; its `error` says why."""

    code = "job_has_no_result"
    title = "Job has no result"


class ResultGone(JobError):
    """The job's result is no longer on the server's disk. Do the job again to have it anew."""

    status = 410
    code = "result_gone"
    title = "Result gone"


class JobNotRetryable(JobError):
    """Only a job that failed, was cancelled or ended with errors can be done again."""

    code = "job_not_retryable"
    title = "Job cannot be done again"


class CallbackNotSettled(JobError):
    """The job's callback is not settled, so it cannot be delivered again."""

    code = "callback_not_settled"
    title = "Callback not settled"
