"""Public archives in miniature: their trees, names, tables, codes and traps; no patient in them."""

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sitesynth.volumes import Volume, write_nifti


__all__ = [
    "EGD_SHAPE",
    "SHAPE",
    "brats_tcga",
    "egd",
    "egd_subject",
    "ucsf_pdgm",
    "upenn_gbm",
    "utsw_glioma",
    "write_scan",
    "write_table",
]

SHAPE = (6, 6, 4)
"""In place of 240 x 240 x 155."""

EGD_SHAPE = (5, 7, 6)
"""In place of 197 x 233 x 189."""


def write_scan(path: Path, *, shape: tuple[int, ...] = SHAPE, labels: Sequence[int] = ()) -> None:
    """Write an image whose voxels belong to its place, or a mask of the given labels."""
    seed = int.from_bytes(hashlib.sha256("/".join(path.parts[-4:]).encode()).digest()[:4], "big")
    voxels = np.random.default_rng(seed).integers(1, 1000, shape).astype(np.float32)
    if labels:
        voxels[...] = 0
        voxels.flat[: len(labels)] = labels
    write_nifti(path, Volume(voxels, np.eye(4)), dtype=np.int16)


def write_table(
    path: Path, header: str, rows: Sequence[str], *, delimiter: str = ",", end: str = "\n"
) -> Path:
    """Write a table from lines with | between cells, as each archive quotes and ends them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
        writer.writerows([line.split("|") for line in (header, *rows)])
    return path


def ucsf_pdgm(root: Path) -> tuple[Path, Path]:
    """Write UCSF-PDGM: four-digit folders, a three-digit table, a follow-up."""
    source = root / "PKG - UCSF-PDGM Version 5" / "UCSF-PDGM-v5"
    for folder, name in (
        ("UCSF-PDGM-0004_nifti", "UCSF-PDGM-0004"),
        ("UCSF-PDGM-0007_nifti", "UCSF-PDGM-0007"),
        ("UCSF-PDGM-0009_nifti", "UCSF-PDGM-009"),  # digits differ in some releases
        ("UCSF-PDGM-0010_nifti", "UCSF-PDGM-0010"),
        ("UCSF-PDGM-0011_nifti", "UCSF-PDGM-0011"),
        ("UCSF-PDGM-0012_nifti", "UCSF-PDGM-0012"),
        ("UCSF-PDGM-0013_nifti", "UCSF-PDGM-0013"),
        ("UCSF-PDGM-0014_nifti", "UCSF-PDGM-0014"),
        ("UCSF-PDGM-0429_nifti", "UCSF-PDGM-0429"),
        ("UCSF-PDGM-0429_FU003d_nifti", "UCSF-PDGM-0429_FU003d"),
    ):
        for kind in ("T1", "T1_bias", "T1c", "T1c_bias", "T2", "FLAIR", "SWI", "ADC"):
            if (name, kind) != ("UCSF-PDGM-0007", "T1"):
                write_scan(source / folder / f"{name}_{kind}.nii.gz")
        write_scan(source / folder / f"{name}_brain_segmentation.nii.gz", labels=(1,))
        write_scan(source / folder / f"{name}_tumor_segmentation.nii.gz", labels=(1, 2, 4))
    table = write_table(
        root / "UCSF-PDGM-metadata_v5.csv",
        "ID|Sex|Age at MRI|WHO CNS Grade|Final pathologic diagnosis (WHO 2021)|MGMT status|"
        "MGMT index|1p/19q|IDH|1-dead 0-alive|OS|EOR|Biopsy prior to imaging|BraTS21 ID|"
        "BraTS21 Segmentation Cohort|BraTS21 MGMT Cohort",
        [
            f"UCSF-PDGM-{one}|1|100|STR|No|||"
            for one in (
                "004|M|66|4|Glioblastoma, IDH-wildtype|negative|0|unknown|wildtype",
                (
                    "007|F|41|3|Oligodendroglioma, IDH-mutant, 1p/19q-codeleted|x|0|"
                    "relative co-deletion|IDH1 p.Arg132His"
                ),
                "009|F|35|2|Astrocytoma, IDH-mutant|x|0|intact|mutated (NOS)",
                "010|M|50|3|Astrocytoma, IDH-wildtype|x|0|intact|wildtype",
                "011|M|unknown|4|unknown|x|0|unknown|unknown",
                "013|M|50|4|Glioblastoma, IDH-wildtype|x|0|intact|IDH2 p.R172K",
                "014|M|50|4|Glioblastoma, IDH-wildtype|x|0|intact|pending",
                "429|F|29|4|Astrocytoma, IDH-mutant|x|0|intact|IDH1 p.R132H",
                "0429_FU003d|F|30|4|Astrocytoma, IDH-mutant|x|0|intact|IDH1 p.R132H",
                "500|F|30|4|Glioblastoma, IDH-wildtype|x|0|intact|wildtype",
            )
        ],
    )
    return source.parent, table


def upenn_gbm(root: Path) -> tuple[Path, tuple[Path, Path]]:
    """Write UPENN-GBM: baselines and a follow-up, unstripped twins, two kinds of masks."""
    source = root / "PKG - UPENN-GBM-NIfTI" / "UPENN-GBM" / "NIfTI-files"
    for scan in (*(f"UPENN-GBM-{n:05d}_11" for n in (1, 2, 3)), "UPENN-GBM-00001_21"):
        for kind in ("T1", "T1GD", "T2", "FLAIR"):
            write_scan(source / "images_structural" / scan / f"{scan}_{kind}.nii.gz")
            unstripped = source / "images_structural_unstripped" / scan
            write_scan(unstripped / f"{scan}_{kind}_unstripped.nii.gz")
        automated = source / "automated_segm" / f"{scan}_automated_approx_segm.nii.gz"
        write_scan(automated, labels=(1, 2, 4))
    write_scan(source / "images_segm" / "UPENN-GBM-00002_11_segm.nii.gz", labels=(1, 2, 4, 4))
    clinical = write_table(
        root / "UPENN-GBM_clinical_info_v2.1.csv",
        "ID|Gender|Age_at_scan_years|Survival_from_surgery_days_UPDATED|IDH1|MGMT",
        [
            "UPENN-GBM-00001_11|F|63.5|Not Available|Wildtype|Unmethylated",
            "UPENN-GBM-00001_21|F|64.1|Not Available|Wildtype|Unmethylated",
            "UPENN-GBM-00002_11|M|44|300|Mutated|Indeterminate",
            "UPENN-GBM-00003_11|M|Not Available|300|NOS/NEC|Not Available",
        ],
    )
    acquisition = write_table(
        root / "UPENN-GBM_acquisition.csv",
        "ID|Manufacturer|Model|Magnetic Field Strength",
        ["UPENN-GBM-00001_11|SIEMENS|TrioTim|3", "UPENN-GBM-00002_11|GE|Signa|1.5"],
    )
    return source, (clinical, acquisition)


def brats_tcga(root: Path) -> tuple[Path, Path]:
    """Write BraTS-TCGA: both packages, corrected masks where there are any, GDC's double rows."""
    gbm = root / "Pre-operative_TCGA_GBM_NIfTI_and_Segmentations"
    lgg = root / "Pre-operative_TCGA_LGG_NIfTI_and_Segmentations"
    for folder, case, date in (
        (gbm, "TCGA-02-0006", "1996.08.23"),
        (gbm, "TCGA-02-0009", "1997.06.14"),
        (lgg, "TCGA-CS-4941", "1996.09.09"),
        (lgg, "TCGA-CS-4942", "1997.02.22"),
        (lgg, "TCGA-CS-4943", "2000.09.02"),
    ):
        stem = folder / case / f"{case}_{date}"
        for kind in ("flair", "t1", "t1Gd", "t2"):
            write_scan(Path(f"{stem}_{kind}.nii.gz"))
        write_scan(Path(f"{stem}_GlistrBoost.nii.gz"), labels=(1, 2, 4))
    corrected = "TCGA-02-0006_1996.08.23_GlistrBoost_ManuallyCorrected.nii.gz"
    write_scan(gbm / "TCGA-02-0006" / corrected, labels=(1, 2, 2, 4))
    write_scan(lgg / "TCGA-CS-4943" / "TCGA-CS-4943_2001.01.01_t2.nii.gz")  # a second date
    table = write_table(
        root / "ceccarelli.csv",
        "Case|Study|Histology|Grade|IDH status|1p/19q codeletion|IDH/codel subtype",
        [
            "TCGA-02-0006|GBM|glioblastoma|G4|WT|non-codel|IDHwt",
            "TCGA-02-0009|GBM|glioblastoma|G4|WT|NA|IDHwt",
            "TCGA-CS-4941|LGG|oligodendroglioma|G2|Mutant|codel|IDHmut-codel",
            "TCGA-CS-4941|LGG|oligodendroglioma|G2|Mutant|codel|IDHmut-codel",
            "TCGA-CS-4942|LGG|astrocytoma|G3|Mutant|non-codel|IDHmut-non-codel",
            "TCGA-CS-4942|LGG|astrocytoma|G2|Mutant|non-codel|IDHmut-non-codel",
            "TCGA-CS-4943|LGG|astrocytoma|G3|Mutant|non-codel|IDHmut-non-codel",
            "TCGA-FG-0001|LGG|astrocytoma|G3|Mutant|non-codel|IDHmut-non-codel",
        ],
    )
    return root, table


def egd_subject(folder: Path, *, idh: int, codeletion: int, grade: int, field: float) -> None:
    """Write metadata.json of one patient."""
    content = {
        "Genetic_and_Histological_labels": {"IDH": idh, "1p19q": codeletion, "Grade": grade},
        "Clinical_data": {"Age": 51, "Sex": "F"},
        "Segmentation_source": {"Observer": "x", "Original scan": "FLAIR"},
        "Scan_characteristics": {"Manufacturer": "GE", "System": "Signa", "Field": field},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.json").write_text(json.dumps(content))


def egd(root: Path, *, is_xnat: bool) -> tuple[Path, Path]:
    """Write EGD as its downloader does, or as the XNAT archive is; atlas masks lie beside."""
    source = root / ("xnat" if is_xnat else "SUBJECTS")
    told = [(0, 0, 4, 3.0), (1, 0, 3, 1.5), (1, 1, 2, -1.0), (1, -1, 4, 3.0), (-1, -1, -1, 0.0)]
    for number, (idh, codeletion, grade, field) in enumerate(told, start=1):
        patient = f"EGD-{number:04d}"
        folder = source / (f"MR_{patient}" if is_xnat else patient)
        egd_subject(folder, idh=idh, codeletion=codeletion, grade=grade, field=field)
        for place, name in enumerate(("T1", "T1GD", "T2", "FLAIR", "MASK"), start=1):
            inner = folder / f"{place}_{name}" / "NIFTI" if is_xnat else folder
            labels = (1, 1) if name == "MASK" else ()
            write_scan(inner / f"{name}.nii.gz", shape=EGD_SHAPE, labels=labels)
    for name in ("Brain_mask", "Deface_mask"):
        write_scan(root / "METADATA" / f"{name}.nii.gz", shape=EGD_SHAPE, labels=(1,))
    table = write_table(
        root / "Genetic_and_Histological_labels.csv",
        "Subject|IDH|1p19q|Grade",
        ["EGD-0001|0|0|4", "EGD-0002|1|0|3", "EGD-0003|1|1|2", "EGD-0004|1|-1|4", "EGD-0005|7|0|2"],
    )
    return root, table


def utsw_glioma(root: Path) -> tuple[Path, Path]:
    """Write UTSW-Glioma: a mask on a cropped grid, undocumented labels, a table in CRLF."""
    source = root / "PKG - UTSW-Glioma" / "UTSW-Glioma"
    for number in range(1, 6):
        folder = source / f"BT{number:04d}"
        for kind in ("t1", "t1ce", "t2", "flair"):
            write_scan(folder / f"brain_{kind}.nii.gz")
        for kind in ("t1", "t1ce", "t2", "fl"):
            write_scan(folder / f"brain_{kind}_ants.nii.gz", shape=EGD_SHAPE)
        write_scan(folder / "tumorseg_FeTS.nii.gz", labels=(1, 2, 4))
        cropped = folder / "tumorseg_manual_correction.nii.gz"
        write_scan(cropped, shape=(3, 3, 3), labels=(1, 2, 4))
    corrected = source / "BT0001" / "rtumorseg_manual_correction.nii.gz"
    write_scan(corrected, labels=(1, 2, 3, 5))
    write_scan(source / "BT0005" / "brain_t2.nii.gz", shape=(6, 6, 5))
    table = write_table(
        root / "UTSW_Glioma_Metadata-2-1.tsv",
        "Subject ID|Sex at birth|Age at Imaging|Race|Operation Status|Scanner Make|Scanner Model|"
        "Scanner Strength|Tumor Type|Tumor Grade|IDH|1p19Q CODEL|MGMT",
        [
            "BT0001|Male|70|x|x|Philips|Ingenia|3T|Glioblastoma|4|wild type|NA|NA",
            "BT0002|Female|33|x|x|GE|Signa|1.5 T|Astrocytoma|II|mutated|non-codeleted|NA",
            "BT0003|Female|40|x|x|NA|NA|Not Reported|Oligo|3|mutated|co-deleted|NA",
            "BT0004|Female|200|x|x|NA|NA|NA|Astrocytoma|3|mutated|intact|NA",
            "BT0005|Female|40|x|x|NA|NA|NA|Astrocytoma|3|NA|intact|NA",
        ],
        delimiter="\t",
        end="\r\n",
    )
    return source, table
