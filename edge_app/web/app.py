"""The wiring of pages and API."""

from __future__ import annotations

from flask import Flask

from edge_app.counted import counted
from edge_app.web.api import api_routes
from edge_app.web.login import login_pages
from edge_app.web.pages import site_pages
from edge_app.web.problems import install_problems
from edge_app.web.security.guard import install_guard
from edge_app.web.site import Site

# A configuration or some calibration points; nothing larger is ever sent.
MOST_BODY_BYTES = 256 * 1024


def create_app(site: Site) -> Flask:
    """Make the Flask application."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.add_template_filter(counted)
    install_guard(app, site.security)
    install_problems(app)
    app.register_blueprint(login_pages(site.security))
    app.register_blueprint(site_pages(site))
    app.register_blueprint(api_routes(site))
    return app
