"""What every section of the strategy's numbers is made of."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[Decimal, Field(ge=0, le=1)]
Positive = Annotated[Decimal, Field(gt=0)]


class Rules(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
