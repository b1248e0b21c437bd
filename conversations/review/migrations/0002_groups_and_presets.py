from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

APPS = ("accounts", "review")
REVIEWERS = [
    "view_reviewcase",
    "claim_reviewcase",
    "decide_reviewcase",
    "rerun_reviewcase",
    "view_report",
    "view_replypreset",
    "view_blocklistentry",
]
LEADS = [
    *REVIEWERS,
    "assign_reviewcase",
    "suspend_user",
    "reveal_reporter",
    "read_conversation",
    "view_review_figures",
    "export_reviewcase",
    "view_reviewevent",
    "view_accountnotice",
    "add_replypreset",
    "change_replypreset",
    "delete_replypreset",
    "change_blocklistentry",
    "delete_blocklistentry",
]
PRESETS = [
    ("Upheld, hidden", "upheld", "Thank you for your report. We agree, and have hidden the answer."),
    ("Upheld, replaced", "upheld", "Thank you for your report. The answer was wrong. We have replaced it with one that we checked."),
    ("Upheld, fault found", "upheld", "Thank you for your report. We found the problem and are working on it."),
    ("No violation", "dismissed", "Thank you for your report. We reviewed the answer and found that it follows our rules, so we have left it as it is."),
    ("Not reproducible", "dismissed", "Thank you for your report. We couldn't reproduce the problem. If it happens again, please tell us what you did just before."),
]


def make_groups(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    # Django creates permissions after all migrations have run, but the groups need them now.
    for label in APPS:
        config = apps.get_app_config(label)
        config.models_module = True  # type: ignore[assignment]
        create_permissions(config, apps=apps, verbosity=0)
        config.models_module = None
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    for name, codenames in (("Reviewers", REVIEWERS), ("Review leads", LEADS)):
        group, _created = Group.objects.get_or_create(name=name)
        found = Permission.objects.filter(content_type__app_label__in=APPS, codename__in=codenames)
        group.permissions.add(*found)


def make_presets(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    ReplyPreset = apps.get_model("review", "ReplyPreset")
    for position, (title, outcome, text) in enumerate(PRESETS):
        ReplyPreset.objects.create(title=title, outcome=outcome, text=text, position=position)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("review", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.RunPython(make_groups, migrations.RunPython.noop),
        migrations.RunPython(make_presets, migrations.RunPython.noop),
    ]
