# Settings of Alembic and of the phases. The application's config (MIGRATE_PHASES, ...) wins over this file.

[alembic]
script_location = %(here)s
# file_template = %%(year)d_%%(month).2d_%%(day).2d_%%(rev)s_%%(slug)s
path_separator = os

# "default" migrates the application's unnamed database, "all" every bind.
binds = default

# phases = before-deploy after-deploy final
# default-phase = before-deploy
# boundary = before-deploy


[loggers]
keys = root,sqlalchemy,alembic

[handlers]
keys = console

[formatters]
keys = generic

[logger_root]
level = WARN
handlers = console
qualname =

[logger_sqlalchemy]
level = WARN
handlers =
qualname = sqlalchemy.engine

[logger_alembic]
level = INFO
handlers =
qualname = alembic

[handler_console]
class = StreamHandler
args = (sys.stderr,)
level = NOTSET
formatter = generic

[formatter_generic]
format = %(levelname)-5.5s [%(name)s] %(message)s
