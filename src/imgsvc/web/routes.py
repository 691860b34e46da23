"""Every path of the server, in one list."""

from aiohttp import web

from imgsvc.web import docs_page, events, handlers, jobs, submit, usage

JOB = "/jobs/{job_id:[^/]+}"
"""A job; what is no id finds its way to the handler too, which says so."""

ROUTES: list[web.RouteDef] = [
    # The three tools
    web.post("/process-image-async-b64", submit.process_image_to_base64),
    web.post("/process-image-async", submit.process_image_to_storage),
    web.post("/batch-process-images", submit.batch_process_images),
    # Jobs
    web.get("/jobs", jobs.list_jobs),
    web.get(JOB, jobs.get_job),
    # HEAD would be a stream without an end
    web.get(f"{JOB}/events", events.job_events, allow_head=False),
    web.get(f"{JOB}/result", jobs.get_result),
    web.get(f"{JOB}/items", jobs.list_items),
    web.post(f"{JOB}/cancel", jobs.cancel_job),
    web.post(f"{JOB}/retry", jobs.retry_job),
    web.post(f"{JOB}/callback/redeliver", jobs.redeliver_callback),
    # Results of the filesystem storage, by signed link
    web.get("/files/{bucket}/{key:.+}", handlers.file),
    # For operators
    web.get("/usage", usage.get_usage),
    web.get("/health", handlers.health),
    web.get("/health/live", handlers.live),
    web.get("/health/ready", handlers.ready),
    web.get("/metrics", handlers.metrics),
    web.get("/cos/config", handlers.cos_config),
    # The interface, for machines and for people
    web.get("/", handlers.front_page),
    web.get("/openapi.json", handlers.openapi_document),
    *docs_page.routes(),
]
