"""Public implementations, recorded: which of our forms answers for which public class."""

from __future__ import annotations

from parity import convtasnet, openunmix, unet
from parity.form import Form

FORMS: dict[str, Form] = {
    **convtasnet.FORMS,
    **openunmix.FORMS,
    **unet.FORMS,
}
