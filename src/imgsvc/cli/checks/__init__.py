"""What `imgsvc check` looks at."""
