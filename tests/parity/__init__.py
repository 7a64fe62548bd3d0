"""Public implementations, recorded: which of our forms answers for which public class."""

from __future__ import annotations

from parity import convtasnet, demucs, hstasnet, nussl, openunmix, unet, waveunet
from parity.form import Form

FORMS: dict[str, Form] = {
    **convtasnet.FORMS,
    **demucs.FORMS,
    **hstasnet.FORMS,
    **nussl.FORMS,
    **openunmix.FORMS,
    **unet.FORMS,
    **waveunet.FORMS,
}
