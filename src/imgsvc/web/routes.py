"""Every path of the server, in one list."""

from aiohttp import web

from imgsvc.web import docs_page, handlers

ROUTES: list[web.RouteDef] = [
    # The three tools
    web.post("/process-image-async-b64", handlers.process_image_to_base64),
    web.post("/process-image-async", handlers.process_image_to_storage),
    web.post("/batch-process-images", handlers.batch_process_images),
    # Results of the filesystem storage, by signed link
    web.get("/files/{bucket}/{key:.+}", handlers.file),
    # For operators
    web.get("/health", handlers.health),
    web.get("/health/live", handlers.live),
    web.get("/health/ready", handlers.ready),
    web.get("/cos/config", handlers.cos_config),
    # The interface, for machines and for people
    web.get("/", handlers.front_page),
    web.get("/openapi.json", handlers.openapi_document),
    *docs_page.routes(),
]
