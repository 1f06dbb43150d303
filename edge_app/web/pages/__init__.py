"""The pages for people."""

from edge_app.web.pages.site_pages import site_pages

__all__ = ["site_pages"]
