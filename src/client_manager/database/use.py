"""Another database, from now on."""

from pydantic import SecretStr

from client_manager.app import App
from client_manager.gateways.database import Database
from client_manager.gateways.settings_file import write_setting
from client_manager.settings import config_file


def use(app: App, url: SecretStr) -> str:
    """Connect to a database, and write its URL into the settings file if it answers; return its name.

    Raises:
        ConfigurationError: the URL cannot be read, or a variable would win over the file.
        Unavailable: nothing answers there, or it does not let us in; the setting is as before.
    """
    database = Database(url)
    with app.journal.action("database use", database.name, {}), database.connect():
        write_setting(config_file(), "database_url", url.get_secret_value())
    return database.name
