"""The tables of measurements: a schema for each kind."""

from __future__ import annotations

from optimizer.files.dose_rows import DOSE_COLUMNS
from optimizer.files.tables import Column, Schema

KINDS = ("rates", "secretion", "plate", "ic50", "timeseries")
_DOSED = "the doses as a column of concentrations with a unit, 0 where there is no drug"
_GIVEN = (
    "the doses as rows of their own with EVID 1 and AMT (and RATE or DUR, II, ADDL), or a column treatment that is 1 "
    "while the patient is treated, else 0"
)

_FACTORS = ("egf", "growth_factor", "hgf", "fgf", "fgf2", "igf1", "nrg1", "tgfb")
_LINES = ("caf_line", "cell_line", "line", "cell", "cellline")
_LINE = Column("line", _LINES, "text")
_DRUG = Column("drug", ("drug", "dose", "conc", "concentration", "*"), "concentration", high=1e5)
_MARKERS = ("tumor_volume", "volume", "psa", "ctdna", "diameter", "sld", "variant_fraction", "vaf", "burden")
_TREATED = ("treatment", "on_treatment", "treated", "is_treated", "therapy", "on")
_SECOND = ("drug2", "drug_2", "dose2", "conc2", "concentration2", "drug2_conc", "conc_c", "second_drug")
_FIRST = ("drug1", "drug_1", "dose1", "conc1", "concentration1", "drug1_conc", "conc_r")
ROLES = {
    "sample": ("treated", "test", "compound", "drug", "unknown"),
    "vehicle": (
        "dmso",
        "control",
        "ctrl",
        "untreated",
        "neg",
        "negative",
        "negative_control",
        "solvent",
        "neg_control",
    ),
    "blank": ("background", "bg", "empty", "medium", "media", "no_cells"),
    "time_zero": ("t0", "time0", "day0", "start", "time_0", "day_0"),
}
HELD = {
    "1": ("1.0", "on", "yes", "true", "treated", "y"),
    "0": ("0.0", "off", "no", "false", "untreated", "n", "none"),
}
_KEPT: dict = {"required": False, "empty": "kept"}

SCHEMAS: dict[str, Schema] = {
    "rates": Schema(
        "a table of rates",
        (
            Column("growth_factor", _FACTORS, "growth_factor", required=False, high=1e6),
            Column("birth", ("birth_rate",), "rate", required=False, high=12.0),
            Column("death", ("death_rate",), "rate", required=False, high=12.0),
            Column("net", ("net_rate", "net_growth_rate", "net_growth"), "rate", required=False, low=-12.0, high=12.0),
            Column("weight", ("weight",), required=False),
            _DRUG,
        ),
        _DOSED,
    ),
    "secretion": Schema(
        "a table of secretion",
        (
            _LINE,
            Column("day", ("experiment_date", "day", "date"), "text", required=False),
            Column("growth_factor", _FACTORS, "growth_factor", high=1e6),
            Column(
                "cells", ("caf_cells", "cells", "stromal_cells"), "count", required=False, low=1.0, high=1e12, unit="1"
            ),
            Column("time", ("time",), "time", required=False, high=3650.0),
            Column("drug", _DRUG.names, "concentration", required=False, high=1e5),
        ),
        _DOSED,
    ),
    "plate": Schema(
        "a plate",
        (
            Column("plate", ("plate", "plate_id", "barcode"), "text", required=False),
            Column("well", ("well", "well_id", "position"), "text", required=False),
            Column("content", ("role", "content", "well_type", "type"), "text", required=False, choices=ROLES),
            Column("line", _LINES, "text", required=False),
            Column("culture", ("culture", "coculture", "condition", "medium"), "text", **_KEPT),
            Column("growth_factor", _FACTORS, "growth_factor", **_KEPT, high=1e6),
            Column("antibody", ("antibody", "blocker"), "concentration", **_KEPT, high=1e5),
            Column("control", ("cell_count__ctrl", "cell_count_ctrl", "control"), "signal", **_KEPT, unit="1"),
            Column("time_zero", ("cell_count__time0", "cell_count_time0", "time_zero"), "signal", **_KEPT, unit="1"),
            Column(
                "signal",
                ("signal", "absorbance", "luminescence", "fluorescence", "cell_count", "count", "counts", "raw"),
                "signal",
                **_KEPT,
                unit="1",
            ),
            Column(
                "viability",
                ("viability", "relative_viability", "survival", "effect", "response", "fraction_alive"),
                "share",
                **_KEPT,
                low=float("-inf"),
                high=5.0,
                unit="1",
            ),
            Column("second_drug", _SECOND, "concentration", **_KEPT, high=1e5, unit="umol/L"),
            Column(
                "drug",
                (*_FIRST, "concentration", "conc", "dose", "*"),
                "concentration",
                empty="kept",
                high=1e5,
                unit="umol/L",
            ),
            Column("agent", ("agent", "compound", "drug_name", "drug", "inhibitor", "treatment"), "text", **_KEPT),
        ),
    ),
    "ic50": Schema(
        "a table of half-maximal concentrations",
        (
            _LINE,
            Column("status", ("status",), "text", choices={"sensitive": ("s", "parental"), "resistant": ("r",)}),
            Column("ic50", ("ic50", "ec50"), "concentration", low=1e-9, high=1e5),
            Column("ic50_sd", ("ic50_sd", "ec50_sd"), "concentration", **_KEPT, high=1e5),
        ),
    ),
    "timeseries": Schema(
        "a table of doses and measurements",
        (
            Column("patient", ("patient", "id", "subject", "subject_id", "patient_id", "usubjid"), "text"),
            *DOSE_COLUMNS,
            Column("burden", _MARKERS, "burden", **_KEPT, censored=True),
            Column("value", ("dv", "cells"), "burden", **_KEPT, censored=True, unit="relative"),
            Column("mdv", ("mdv",), **_KEPT),
            Column("cens", ("cens", "blq"), **_KEPT, low=-1.0, high=1.0),
            Column("treatment", _TREATED, "text", **_KEPT),
        ),
        _GIVEN,
    ),
}
