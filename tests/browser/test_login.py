"""The login in Chromium, with a provider of OpenID Connect beside the app: in, back to what was asked for, and out."""

import re

import pytest

pytest.importorskip("authlib", reason="Authlib is not installed, so the tests of the login are left out.")

from driving import serving
from openid import CLIENT, SECRET, providing
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

ANN = {"name": "Ann *Finch*", "email": "ann@example.org", "email_verified": True}
EVE = {"name": "Eve", "email": "eve@example.com", "email_verified": True}
LINK = "/tables?table=7"

SECRETS = """[auth]
redirect_uri = "http://127.0.0.1:{{port}}/oauth2callback"
cookie_secret = "long-enough-and-only-for-tests-0123456789"
client_id = "{client}"
client_secret = "{secret}"
server_metadata_url = "{address}/.well-known/openid-configuration"
"""


@pytest.fixture(scope="module")
def provider():
    with providing() as provider:
        yield provider


@pytest.fixture(scope="module")
def closed(chromium, provider, tmp_path_factory):
    """The address of an app with a login, open to those of example.org."""
    home = tmp_path_factory.mktemp("home")
    (home / ".streamlit").mkdir()
    secrets = SECRETS.format(client=CLIENT, secret=SECRET, address=provider.address)
    (home / ".streamlit" / "secrets.toml").write_text(secrets)
    with serving(home / "runs", HOME=str(home), PMSI_ALLOWED_EMAILS="@example.org") as address:
        yield address


def log_in(page, provider, account):
    provider.account = account
    page.get_by_role("button", name="Log in").click()


def expect_only_the_login(page):
    main = page.get_by_test_id("stMain")
    expect(main.get_by_role("heading", name="PMSI Lab")).to_be_visible()
    expect(main.get_by_role("button")).to_have_text([re.compile("Log in")])
    expect(main.get_by_role("heading")).to_have_count(1)
    expect(main.get_by_role("img")).to_have_count(0)
    expect(main.get_by_role("table")).to_have_count(0)


def test_a_link_comes_back_after_the_login_and_the_way_out_leads_out(page, closed, provider):
    page.goto(closed + LINK)
    expect_only_the_login(page)
    log_in(page, provider, ANN)
    expect(page.get_by_role("heading", name=re.compile("Table VII"))).to_be_visible()
    expect(page).to_have_url(re.compile(re.escape(LINK)))
    account = page.get_by_role("button", name="Ann *Finch*")
    account.click()
    expect(page.get_by_text("ann@example.org")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name=re.compile("Table VII"))).to_be_visible()
    account.click()
    page.get_by_role("button", name="Log out").click()
    expect_only_the_login(page)
    page.goto(closed + LINK)
    expect_only_the_login(page)


def test_who_is_not_on_the_list_stays_outside_and_can_come_as_somebody_else(page, closed, provider):
    page.goto(closed + "/runs")
    log_in(page, provider, EVE)
    expect(page.get_by_role("heading", name="Not open to this account")).to_be_visible()
    page.goto(closed + LINK)
    expect(page.get_by_text("You are logged in as Eve")).to_be_visible()
    expect(page.get_by_role("table")).to_have_count(0)
    page.get_by_role("button", name="Log out").click()
    expect_only_the_login(page)
    log_in(page, provider, ANN)
    expect(page.get_by_role("button", name="Ann *Finch*")).to_be_visible()
    expect(page.get_by_role("heading", name="Not open")).to_have_count(0)


def test_who_changes_their_mind_is_still_outside(page, closed, provider):
    page.goto(closed + LINK)
    log_in(page, provider, None)
    page.wait_for_url(f"{closed}/")
    expect_only_the_login(page)
