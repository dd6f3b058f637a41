"""The public data sets that can be imported by name."""

from sitesynth.importers import brats_tcga, egd, ucsf_pdgm, upenn_gbm, utsw_glioma


__all__ = ["LAYOUTS"]

LAYOUTS = {
    module.LAYOUT.name: module.LAYOUT
    for module in (ucsf_pdgm, upenn_gbm, brats_tcga, egd, utsw_glioma)
}
