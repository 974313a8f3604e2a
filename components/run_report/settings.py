"""What only people know of a model; the `model_card` section of the config (Mitchell et al. 2019, Model Cards)."""

from pydantic import BaseModel, ConfigDict, Field

_TELL = "Not stated; set model_card.{} in the config."


class ModelCardSettings(BaseModel):
    """Text for the model card in the report. What nobody has stated says so.

    Attributes:
      name: of the model.
      intended_use: what it is for, and for whom.
      out_of_scope: what it is not for.
      data: where photos and masks come from, who drew the masks.
      limits: what is known to go wrong.
      licence: of the model, which that of its data may bind.
      contact: whom to ask.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="Segmentation model", min_length=1, max_length=120)
    intended_use: str = _TELL.format("intended_use")
    out_of_scope: str = (
        "Decisions about people, safety or money that nobody checks: nothing has been measured that would justify them."
    )
    data: str = _TELL.format("data")
    limits: str = (
        "The scores hold for photos like those of the evaluation split. Other cameras, light, seasons or subjects have "
        "not been measured. The model gives every pixel one of its classes, also where none fits."
    )
    licence: str = _TELL.format("licence")
    contact: str = _TELL.format("contact")
