"""The page's engine against the NumPy engine."""

import glassnet as gn


def test_network_gives_the_logits_of_the_numpy_engine(javascript):
    images, net = gn.load_data("digits", samples=20).test.images[:4] / 16.0, gn.build("tiny", seed=3, dtype="float64")
    x = images.transpose(0, 3, 1, 2)
    logits = javascript(
        "const network = new Network(graph); network.load(state); return network.forward(images.data, 4);",
        graph=gn.graph(gn.spec("tiny")),
        state=net.state_dict(),
        images=x,
    )
    assert abs(logits.reshape(4, 10) - net.logits(x)).max() < 1e-13
