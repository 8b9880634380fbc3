import pytest

import glassnet as gn
from glassnet.explorer.variants import count_normals, variants
from glassnet.initialization import initial_state_dict


@pytest.mark.parametrize(
    "spec",
    [
        gn.spec("tiny"),
        gn.spec("tiny-bn", zero_init=True),
        gn.spec("resnet20", width=4, blocks=(1, 2, 1), shortcut="projection", skip=False, norm="none"),
    ],
    ids=["tiny", "tiny-bn", "custom"],
)
def test_variants_begin_with_the_network_of_the_run(spec: gn.ResNetSpec) -> None:
    offered = variants(spec, 20_000)
    assert offered[0]["graph"] == gn.graph(spec)
    graphs = [repr(variant["graph"]) for variant in offered]
    assert len(graphs) == len(set(graphs))
    assert {(variant["skip"], variant["norm"]) for variant in offered} == {
        (skip, norm) for skip in (True, False) for norm in ("batch", "none")
    }
    assert max(sum(variant["blocks"]) for variant in offered) > sum(spec.blocks)
    for variant in offered:
        own = variant["graph"]["spec"]
        assert (own["skip"], own["blocks"], own["norm"]) == (variant["skip"], variant["blocks"], variant["norm"])


def test_variants_of_a_large_network_are_with_and_without_skip_connections() -> None:
    titles = [variant["title"] for variant in variants(gn.spec("resnet20"), 0)]
    assert titles == ["residual, 9 blocks, with BatchNorm", "plain, 9 blocks, with BatchNorm"]


def test_count_normals_counts_what_initial_weights_draw() -> None:
    spec = gn.spec("resnet20", width=4, blocks=1, shortcut="projection")
    state = initial_state_dict(spec, seed=0)
    assert count_normals(gn.graph(spec)) == sum(array.size for array in state.values() if array.ndim > 1)
