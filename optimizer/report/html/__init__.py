"""The report as one page of HTML: no network, no scripts, nothing beside it."""

from optimizer.report.html.render import account_page as account_page, page as page
