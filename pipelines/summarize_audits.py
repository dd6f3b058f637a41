"""Put the sites' audits together, with the matrix of every site against every generator."""

from pipelines._stage import In, Out, main
from sitesynth import seeds
from sitesynth.quality.matrix import (
    measure_matrix,
    read_features,
    read_network_features,
    summarize_quality,
)
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
    files = {site: features / f"{site}.safetensors" for site in sites.training}
    matrix = measure_matrix(
        {site: read_features(file) for site, file in files.items()},
        num_resamples=quality.num_resamples,
        rng=seeds.numpy_generator(seed, "quality", "matrix"),
    )
    networks = {site: read_network_features(file) for site, file in files.items()}
    by_network = {
        name: measure_matrix(
            {site: found[name] for site, found in networks.items()},
            num_resamples=quality.num_resamples,
            rng=seeds.numpy_generator(seed, "quality", "matrix", name),
        )
        for name in networks[sites.training[0]]
    }
    audits = [read_json(quality_audits / f"{site}.json") for site in sites.training]
    write_json(quality_summary, summarize_quality(audits, matrix, by_network=by_network))
    write_json(
        privacy_summary,
        {"sites": {site: read_json(privacy_audits / f"{site}.json") for site in sites.training}},
    )


if __name__ == "__main__":
    main(run)
