"""An estimate passes through torchmetrics and JSON unchanged."""

import json
import pickle

import torchmetrics

from metrics.shared.estimates import Estimate

ESTIMATE = Estimate(value=0.5, low=0.4, high=0.6, n=10, interval="bootstrap", higher_is_better=True)


def test_plain_values():
    assert json.loads(json.dumps(ESTIMATE.as_dict())) == {
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n": 10,
        "interval": "bootstrap",
        "higher_is_better": True,
    }
    assert pickle.loads(pickle.dumps(ESTIMATE)) == ESTIMATE


def test_compute_of_torchmetrics_keeps_it():
    class One(torchmetrics.Metric):
        def update(self):
            pass

        def compute(self):
            return {"one": ESTIMATE}

    metric = One()
    metric.update()
    assert metric.compute() == {"one": ESTIMATE}
    assert isinstance(metric.compute()["one"], Estimate)
