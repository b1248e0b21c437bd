"""The form for the name and the logos."""

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminFileWidget
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .models import Branding
from .rules import MAX_LOGO_BYTES, MAX_LOGO_PIXELS, Image, read_image


class LogoField(forms.FileField):
    """An upload that must be an image of a safe type and size. Its value is an `Image`, or False to remove the logo."""

    widget = AdminFileWidget

    def clean(self, data: Any, initial: Any = None) -> Any:
        value = super().clean(data, initial)
        return self._image(value) if isinstance(value, UploadedFile) else value

    def _image(self, file: "UploadedFile[bytes]") -> Image:
        size = file.size or 0
        if size > MAX_LOGO_BYTES:
            raise forms.ValidationError(
                _("The file is too large: %(size)s of %(limit)s.")
                % {"size": filesizeformat(size), "limit": filesizeformat(MAX_LOGO_BYTES)}
            )
        image = read_image(file.read())
        if image is None:
            raise forms.ValidationError(_("Upload a PNG, JPEG or WebP image."))
        if max(image.width, image.height) > MAX_LOGO_PIXELS:
            raise forms.ValidationError(
                _(
                    "The image is too large: %(width)d × %(height)d pixels. It can be up to %(limit)d pixels wide and high."
                )
                % {"width": image.width, "height": image.height, "limit": MAX_LOGO_PIXELS}
            )
        return image


class BrandingForm(forms.ModelForm):  # type: ignore[type-arg]
    """Edit the name, upload a logo or remove it."""

    LOGOS = {"logo_file": "logo", "dark_logo_file": "dark_logo"}

    logo_file = LogoField(
        label=gettext_lazy("Logo"),
        required=False,
        help_text=gettext_lazy(
            "A PNG, JPEG or WebP image of up to 100 KB. It is shown 28 pixels high; twice that is sharp on every screen. "
            "A square logo is also the icon of the browser tab."
        ),
    )
    dark_logo_file = LogoField(
        label=gettext_lazy("Logo for dark backgrounds"),
        required=False,
        help_text=gettext_lazy("If empty, the logo above is also used on dark backgrounds."),
    )

    class Meta:
        model = Branding
        fields = ("name", "shows_name", "logo_alt")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field, name in self.LOGOS.items():
            self.initial[field] = getattr(self.instance, name)

    def logos(self) -> dict[str, Image | None]:
        """Return the logos that were uploaded, and None for those to remove."""
        return {
            name: self.cleaned_data[field] or None
            for field, name in self.LOGOS.items()
            if field in self.changed_data
        }
