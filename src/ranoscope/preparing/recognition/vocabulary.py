"""The words by which scanners, hospitals and published data sets name series.

Every pattern is matched on normalised words (see ``words.normalise``): lower case, no accents, single spaces, ``t1ce``
already ``t1 ce`` and ``w/o`` already ``without``. Sources: the vendors' own names of pulse sequences, the suffixes of
BIDS 1.9 (https://bids-specification.readthedocs.io), the file names of BraTS and LUMIERE, and the words that
radiographers use in English, German, French, Spanish and Italian.
"""

from __future__ import annotations

import re

from ranoscope.preparing.recognition.decision import SetAside


def _phrase(*alternatives: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z0-9])(?:{'|'.join(alternatives)})(?![a-z0-9])")


# In this order: the first that matches names the reason. A map made from perfusion is a map, perfusion weighted by T2*
# is perfusion.
SET_ASIDE: tuple[tuple[SetAside, re.Pattern[str]], ...] = (
    (SetAside.NOT_MR, _phrase(r"phoenixzip\w*", "screen ?(?:save|shot)s?", r"\w*report", "evidence documents?")),
    (
        SetAside.LOCALISER,
        _phrase(r"lo[ck]ali[sz]\w+", "locs?", r"\w*scout", r"survey\w*", "pilot", "smartbrain",
                "(?:3|three|tri) ?planes?", "topogram", r"reperage\w*", r"(?:asset )?calibration\w*", "asset cal",
                r"(?:sense )?ref(?:erence)? ?scan"),
    ),
    (
        SetAside.OTHER_BODY_PART,
        _phrase(r"[ctl]? ?spine", "spinal", "[ctl]sp", "[hbl]ws", "neck", "hals", r"cervical\w*", r"lumb[ao]\w*",
                r"thora\w+", "rachis", "columna", "moelle", "medula", "myelon", r"abdom\w+", "liver", "leber", "pelvis",
                "becken", r"prostat\w*", "breasts?", "mamma", "knee", "knie", "shoulder", "schulter", "cardiac",
                "heart", "whole ?body"),
    ),
    (SetAside.SPECTROSCOPY, _phrase("mrsi?", "svs", "csi", r"\w*spectro\w*", r"spektro\w*", "press", "steam", "probe")),
    (
        SetAside.QUANTITATIVE,
        _phrase(r"t[12] ?(?:star )?map\w*", r"t1 ?rho\w*", r"r[12](?:star)? ?map\w*", "qsm", "mrf", r"fingerprint\w*",
                "(?:mp2rage|mapit) (?:.* )?t[12] images?", r"mp2rage (?:.* )?inv ?\d(?: .*)?",
                r"inv ?\d (?:.* )?mp2rage", "magic", "symri", r"synthetic\w*", "vfa", "(?:multi|variable) flip",
                r"(?:vibe|f?spgr|flash|ffe|lava) (?:.* )?(?:fa|flip) ?\d+", r"relaxomet\w*"),
    ),
    (
        SetAside.DERIVED,
        _phrase(r"\w*cb[vf]\w*", r"\w*mtt", r"\w*ttp", "tmax", r"k ?trans", "kep", "aif", "i?auc", "[pg]bp",
                r"leakage\w*", "[de]?adc", r"apparent diff\w*", "average dc", r"mean diff\w*", r"fa(?! ?\d)", "colfa",
                r"fractional an\w*", r"\w*tracew?", "tensor", r"differen[cz]\w*", r"su[bs]s?tra[ck]\w*",
                r"soustrac\w*", r"sottraz\w*", "subtr", r"subs?(?! ?\d)", "m?mips?", r"projection\w*", r"render\w*",
                "vrt", r"\w*masks?", "seg", r"segment\w*", "labels?", "rois?", "gtv", r"contours?"),
    ),
    (SetAside.FIELD_MAP, _phrase(r"field ?map\w*", "fmap", r"b[01] ?map\w*", "tfl b1", r"shim\w*", "topup",
                                 r"phasediff\w*", r"magnitude[12]")),
    (SetAside.FUNCTIONAL, _phrase("(?:rs ?)?f ?mri", "bold", r"task\w*", "rest", r"resting\w*")),
    (
        SetAside.DYNAMIC,
        _phrase(r"perf\w*", "dsc", "dce", r"\w*pwi", r"dyn\w*", r"\w*asl", "grasp", "twist"),
    ),
    (SetAside.DIFFUSION, _phrase(r"\w*dwi\w*", r"dti\w*", r"diff\w*", r"difu\w*", "resolve", "hardi", "noddi",
                                 "dki", "ivim", "b ?0", r"b ?\d{2,4}t?")),
    (
        SetAside.SUSCEPTIBILITY,
        _phrase(r"swi\w*", "swan", r"suscept\w*", "susc", "ven ?bold", "t2 star", r"ha?emo\w*", "heme", "merge",
                "medic", r"micro ?bleeds?", "t2 (?:.* )?(?:gre|ffe|eg|flash|fl[23]d)",
                "(?:gre|ffe|eg|flash|fl[23]d) (?:.* )?t2", "(?:mag|pha|swi) images"),
    ),
    (
        SetAside.ANGIOGRAPHY,
        _phrase(r"tof\w*", "mra", "mrv", r"\w*angio\w*", r"venogr\w*", "venc", "phase contrast", "[23]d pc",
                "pc ?(?:a|mra)", "inhance", "tricks", r"carotid\w*", "csf flow", "q ?flow"),
    ),
    (SetAside.DERIVED, _phrase("dixon (?:.* )?(?:f|fat|in|opp)", "min ?ip", "phase", "pha",
                                r"fus(?:ed|ion)", "maps?", "karte", r"parametri\w*")),
    (
        SetAside.PARTIAL,
        _phrase(r"orbit\w*", r"sella\w*", r"pituit\w*", r"hypophy\w*", "iacs?", "khbw", "inner ear", r"felsenbein\w*",
                "temporal bones?", r"hippo\w*", r"trigem\w*", "optic nerves?", "sinus(?:es)?", "tmj", "skull base"),
    ),
)  # fmt: skip

# Gradient echo by name alone: blood is looked for with it, unless the name says T1.
GRADIENT_ECHO = _phrase("gre", "grad(?:ient)? echo", "echo de gradient")

# A spoiled or inversion-prepared gradient echo of these names is T1-weighted by construction.
T1 = _phrase("t1", "mp ?rage", "mp2rage", "unit1", "bravo", "f?spgr", "vibe", "thrive", "3d tfe", r"tfl(?:3d\w*)?")
T2 = _phrase("t2")
# TIRM is Siemens' turbo inversion recovery: dark-fluid by a long inversion time, STIR by a short one. The times tell.
FLAIR = _phrase("flair", "tirm", "dark ?fluid")
PD = _phrase("pdw?i?", "dp", "proton dens\\w*", "dens(?:ite|idad) (?:de )?proton\\w*")
PD_AND_T2 = _phrase("pdw?t2w?", "d(?:ual|ouble) echo")
OTHER_WEIGHTING = _phrase("stir", "dir", "double inversion", "psir", "fgatir", "b ?ffe", "fiesta", "ciss", "ci3d",
                          "tru(?:e ?)?fi(?:sp)?", "b ?ssfp")  # fmt: skip
# What a series was registered to is not what it is.
REGISTERED_TO = _phrase(r"(?:(?:co)?reg\w*|aligned|warped|resampled)? ?to .*")
INVERTED = _phrase("flair", "tirm", "dark ?fluid", "ir")

_AGENT = (
    r"(?:c|ce|gd|gad|gado\w*|km|k|kontrast\w*|contrast\w*|inj\w*|iv|civ|mdc|dotarem|magnevist|prohance|multihance|omniscan"
    r"|clariscan)"
)
# "Post-op" and "pre-biopsy" speak of the patient, "post fossa" of the place, "pre-scan" of the coil.
_NOT_OF_CONTRAST = (
    r"(?! ?(?:op|ops|oper\w*|x?rt|radi\w*|treat\w*|surg\w*|biops\w*|resec\w*|ther\w*|chemo\w*|fossa|scan\w*))"
)
CONTRAST_NEUTRAL = _phrase("phase contrast", "high contrast", "contrast resolution")
CONTRAST_BOTH = _phrase("w(?:ith)? (?:and )?w(?:ith)?o(?:ut)?", "pre (?:and |\\+ )?post", "mit (?:und|u) ohne",
                        "avec (?:et )?sans", "sans (?:et )?avec", "ohne (?:und|u) mit",
                        "con y sin", "avant (?:et )?apres")  # fmt: skip
CONTRAST_WITHOUT = _phrase(
    rf"(?:without|wo|ohne|sans|sin|senza|zonder|no|non|vor|before|avant|antes|prima)(?: de)?(?: i ?v)? {_AGENT}",
    r"(?:without|wo|ohne)(?! ?(?:fs|fat|ir))", f"pre{_AGENT}", f"pre{_NOT_OF_CONTRAST}(?: {_AGENT})?",
    r"non ?contrast\w*", r"(?:un|non ?)enhanced", r"nativ\w*",
)  # fmt: skip
CONTRAST_WITH = _phrase(
    rf"\+ {_AGENT}", r"c \+", f"post{_AGENT}", f"post{_NOT_OF_CONTRAST}(?: {_AGENT})?", "ce", "gd", "gad", r"gado\w*",
    "km", r"kontrast\w*", r"contrast\w*", "with c", "with$", "enhanced", r"inj(?:ect\w*)?", "civ",
    "mdc", "dotarem", "magnevist", "prohance", "multihance", "omniscan", "clariscan",
    "dsc", "dce",  # both are recorded while a bolus of contrast agent passes
)  # fmt: skip

AXIAL = _phrase("ax", "axi", "axial", "tra", r"trans\w*", "oax")
SAGITTAL = _phrase("sag", r"sagit\w*", "osag")
CORONAL = _phrase("cor", "kor", r"coron\w*", "ocor")
REFORMAT = _phrase("mpr", "mprs", r"reformat\w*", "rfmt", r"recons?", r"reconstr\w*", r"rekonstr\w*")
FAT_SATURATED = _phrase("fs", "fat ?sat\\w*", "fat ?sup\\w*", "spir", "spair", "chess")
SINGLE_SHOT = _phrase("haste", "h[23]d\\w*", "ss ?t?fse", "ssh\\w*", "single ?shot")
DENOISED = _phrase("uni den", "denoised")
REPEATED = _phrase("repeat\\w*", "rpt", "rep", "redo", "again", "wdh", "wiederholung", "motion")

# What ImageType (0008,0008) says: values of PS3.3 C.8.13.1 and C.8.16.1, and the vendors' own in third place and after.
IMAGE_TYPES: tuple[tuple[SetAside, frozenset[str]], ...] = (
    (SetAside.LOCALISER, frozenset({"LOCALIZER"})),
    (SetAside.NOT_MR, frozenset({"SCREEN SAVE", "SECONDARY CAPTURE"})),
    (SetAside.QUANTITATIVE, frozenset({"T1 MAP", "T2 MAP", "T2_STAR MAP", "T2* MAP", "R2 MAP", "R2_STAR MAP"})),
    (
        SetAside.DERIVED,
        frozenset({
            "ADC", "EADC", "FA", "COLFA", "TRACE", "TRACEW", "TENSOR", "CBV", "RCBV", "RELCBV", "CBF", "RCBF",
            "RELCBF", "MTT", "TTP", "MIP", "MNIP", "MINIP", "PROJECTION IMAGE", "SUB", "SUBTRACT", "SUBTRACTION",
            "PHASE", "PHASE MAP", "P", "VELOCITY", "VELOCITY MAP", "IMAGINARY",
        }),
    ),
    (SetAside.FIELD_MAP, frozenset({"B0 MAP", "B1 MAP", "FIELD_MAP"})),
    (SetAside.DIFFUSION, frozenset({"DIFFUSION"})),
    (SetAside.DYNAMIC, frozenset({"PERFUSION", "ASL"})),
    (SetAside.FUNCTIONAL, frozenset({"FMRI"})),
    (SetAside.SPECTROSCOPY, frozenset({"SPECTROSCOPY"})),
    (SetAside.SUSCEPTIBILITY, frozenset({"SWI"})),
)  # fmt: skip
REFORMAT_TYPES = frozenset({"MPR", "CSA MPR", "REFORMATTED", "RESAMPLED"})
