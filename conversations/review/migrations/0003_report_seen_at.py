from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.utils import timezone


def mark_all_as_seen(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Count only replies from now on as new, because nobody knows which of the earlier ones were seen."""
    apps.get_model("review", "Report").objects.update(seen_at=timezone.now())


class Migration(migrations.Migration):
    dependencies = [
        ("review", "0002_groups_and_presets"),
    ]

    operations = [
        migrations.AddField(
            model_name="report",
            name="seen_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When the reporter last looked for replies.",
                null=True,
                verbose_name="seen at",
            ),
        ),
        migrations.RunPython(mark_all_as_seen, migrations.RunPython.noop),
    ]
