"""The draw-a-digit page and its API; they use the study, never the reverse.

Run them from the root of the repository: `make app`, or `flask --app "app:create_app()" run`.
"""

from app.routes import create_app as create_app
