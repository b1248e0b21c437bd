"""The index of Django admin lists its sections in the order of daily tasks."""

import re

import pytest
from django.test import Client


@pytest.mark.django_db
def test_sections_are_in_the_order_of_daily_tasks(admin_client: Client) -> None:
    page = admin_client.get("/admin/").content.decode()
    sections = re.findall(r'<div class="app-(\w+) module', page.split('id="content-main"')[1])
    assert sections[:7] == ["review", "chat", "access", "accounts", "catalogue", "evaluation", "branding"]
    assert len(sections) == len(set(sections))
    names = re.findall(r'class="section"[^>]*>\s*([^<]+?)\s*</a>', page.split('id="content-main"')[1])
    assert names[:7] == ["Review", "Chat", "Access", "Users", "Models", "Evaluation", "Branding"]
    assert len(names) == len(set(names))
