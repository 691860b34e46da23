"""The HTTP side: from requests to jobs."""
