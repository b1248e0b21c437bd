from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

CODENAMES = ["view_evaluationitem"]


def extend_groups(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    # Permissions are made after all migrations, and these are needed now.
    config = apps.get_app_config("evaluation")
    config.models_module = True  # type: ignore[assignment]
    create_permissions(config, apps=apps, verbosity=0)
    config.models_module = None
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    found = Permission.objects.filter(content_type__app_label="evaluation", codename__in=CODENAMES)
    for group in Group.objects.filter(name__in=["Reviewers", "Review leads"]):
        group.permissions.add(*found)


class Migration(migrations.Migration):
    dependencies = [
        ("evaluation", "0001_initial"),
        ("review", "0002_groups_and_presets"),
    ]

    operations = [migrations.RunPython(extend_groups, migrations.RunPython.noop)]
