"""When a tumor counts as progressed: endpoints, read at visits and confirmed. One a file."""
