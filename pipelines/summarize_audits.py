"""Put the sites' audits together, with the matrix of every site against every generator."""

from pipelines._stage import In, Out, main
from sitesynth import seeds
from sitesynth.quality.matrix import measure_matrix, read_features, summarize_quality
from sitesynth.settings import QualitySettings, SiteSettings
from sitesynth.storage import read_json, write_json


def run(
    *,
    privacy_audits: In,
    quality_audits: In,
    features: In,
    privacy_summary: Out,
    quality_summary: Out,
    sites: SiteSettings,
    quality: QualitySettings,
    seed: int,
) -> None:
    """Read what each training site found out about its generator; write the study's summaries."""
    matrix = measure_matrix(
        {site: read_features(features / f"{site}.safetensors") for site in sites.training},
        num_resamples=quality.num_resamples,
        rng=seeds.numpy_generator(seed, "quality", "matrix"),
    )
    audits = [read_json(quality_audits / f"{site}.json") for site in sites.training]
    write_json(quality_summary, summarize_quality(audits, matrix))
    write_json(
        privacy_summary,
        {"sites": {site: read_json(privacy_audits / f"{site}.json") for site in sites.training}},
    )


if __name__ == "__main__":
    main(run)
