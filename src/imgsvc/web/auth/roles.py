"""What callers may do."""

from enum import StrEnum


class Role(StrEnum):
    """A caller has any number of these; none of them includes another."""

    SUBMIT = "submit"  # new jobs; cancel own ones, and do them again
    READ = "read"  # own jobs and what they have cost
    OPERATE = "operate"  # see all jobs and costs, cancel and repeat; callbacks; metrics
    ADMIN = "admin"  # see the configuration and the audit log; make and end keys
