"""What is called in copies of a process that has imported the frameworks; the tests themselves import none."""

import json
import logging

import edgeglass_diag as eg

FOR_EVER = 10**6


def with_and_without(name, out):
    """Print the losses of a training with the callback, and of one without."""
    from tests.helpers.framework_trainings import TRAININGS, diagnose_of

    logging.basicConfig(level=logging.INFO)
    train = TRAININGS[name]
    print("SAID", json.dumps([train(diagnose_of(name, out)), train(None)]))


def stopping(name, out, options):
    """Train for ever with a callback; print after how many steps or by what it ended."""
    from tests.helpers.framework_trainings import TRAININGS, diagnose_of

    logging.basicConfig(level=logging.INFO)
    try:
        ended = len(TRAININGS[name](diagnose_of(name, out, **options), epochs=FOR_EVER))
    except eg.StopTraining as error:
        ended = str(error)
    print("SAID", json.dumps(ended))


def failing(name, out):
    """Train with a callback and a loss that raises; where the framework tells nothing of it, end the record."""
    from tests.helpers.framework_trainings import TRAININGS, F, diagnose_of

    def lost(*arguments, **keywords):
        raise RuntimeError("no loss")

    F.cross_entropy = lost
    diagnose = diagnose_of(name, out)
    try:
        TRAININGS[name](diagnose)
    except RuntimeError as error:
        if hasattr(diagnose, "end"):
            diagnose.end(error)
        print("SAID", json.dumps(f"RuntimeError: {error}"))


def validating(name, faults):
    """Train once for each fault of the validation, and print the losses; of the first once more without a callback."""
    from tests.helpers.framework_evaluations import VALIDATIONS

    said = [VALIDATIONS[name](fault or "healthy", fault) for fault in faults]
    print("SAID", json.dumps([*said, VALIDATIONS[name]("", faults[0])]))
