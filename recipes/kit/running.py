"""A run: what every recipe does between its data and its finished folder.

with Run(config, NAME) as run:
    data = load_data(config)
    config = run.begin(config, data)
    ...
    run.fit(model, train_batches, validation_batches, monitor="val_loss", mode="min")
    run.publish(model, data, scores=..., baselines=..., exports=..., title=..., card=...)
"""

import dataclasses
import json
import sys
import time
from pathlib import Path

from recipes.kit import explaining, fitting, flags, processes, records
from recipes.kit.errors import UserError
from recipes.kit.run_folder import RunFolder


class Run(RunFolder):
    """A `RunFolder` that trains, measures and describes the model that it will hold.

    Of several processes that train together (see `processes`) the first does all of this. The
    others load the data and build the model, take part in `fit`, and leave the `with` block there.

    Args:
        config: A dataclass that extends `flags.TrainConfig`.
        recipe: String, the recipe's name.
    """

    def __init__(self, config, recipe):
        super().__init__(config.output, recipe=recipe)

    def __enter__(self):
        return super().__enter__() if processes.is_first() else self

    def __exit__(self, error_type, error, traceback):
        super().__exit__(error_type, error, traceback)
        return error_type is _TrainedAlong

    def begin(self, config, data):
        """Shows the data, takes hold of the folder, and seeds Keras.

        Args:
            config: The config, with what depends on the data settled.
            data: A `data.dataset.Dataset`.

        Returns:
            The config, with values for all size-dependent options.

        Raises:
            UserError: If another run is writing here or the folder cannot be written, or if
                processes that are to train together differ in data or settings.
        """
        self._config = config = flags.settle(config, data.examples)
        group = processes.group()
        if config.processes > 1 and group is None:
            raise UserError("Several processes train by a recipe's command, not by its `train`")
        if processes.is_first():
            print(data)
            # A training may go on in fewer processes, or in more.
            self.start(dataclasses.replace(config, processes=1), data=data.fingerprint)
        if group is not None:
            self._begin_together(group, config, data)
        fitting.set_up_keras(config.seed, mixed_precision=config.mixed_precision)
        return config

    def _begin_together(self, group, config, data):
        """Checks that all processes train the same, from where the first begins."""
        from keras_attention.machine import versions

        by_machine = {"data", "data_dir", "tensorboard"}  # and other paths
        options = {
            flags.flag(field): str(value)
            for field in dataclasses.fields(config)
            if not isinstance(value := getattr(config, field.name), Path)
            and field.name not in by_machine
        }
        group.check_equal(
            {**options, "data": data.fingerprint, "versions of packages": json.dumps(versions())}
        )
        if not processes.is_first():
            self._started = time.monotonic()
        state = group.of_first([self.epochs_done, self.is_trained])
        self.epochs_done, self.is_trained = int(state[0]), bool(state[1])

    def fit(self, model, train, validation=None, *, monitor, mode, callbacks=()):
        """Trains a compiled model and gives it the weights of its best epoch.

        A training that was killed goes on after its last whole epoch (`train` must have been made
        with `epoch=run.epochs_done`); one that is over is not repeated. What is validated and kept
        is the moving average of the weights: the optimizer must be made with `use_ema=True`.

        Args:
            model: A compiled Keras model.
            train, validation: Data sets, as `model.fit` takes them.
            monitor: String, the logged quantity that decides which epoch is best.
            mode: `"min"` or `"max"`, whether less or more of it is better.
            callbacks: Keras callbacks that come before those of the run.
        """
        self._goal = monitor, mode
        if not processes.is_first():
            self._train_along(model, train)
        of_run = fitting.training_callbacks(
            self,
            monitor=monitor,
            mode=mode,
            patience=self._config.patience,
            use_average=True,
            tensorboard=self._config.tensorboard,
        )
        if not self.is_trained:
            self._fit_together(model, train, validation, [*callbacks, *of_run])
        fitting.load_best_weights(model, self)
        self._training_minutes = self.minutes

    def _train_along(self, model, train):
        if not self.is_trained:
            self._fit_together(model, train, None, [])
        print(f"Training is over. The model is written by {processes.group().addresses[0]}")
        raise _TrainedAlong

    def _fit_together(self, model, train, validation, callbacks):
        fitting.build(model, train)
        group = processes.group()
        if group is None:
            self._fit(model, train, validation, callbacks)
            return
        from recipes.kit import sharding

        train, alike = sharding.share(model, train, group)
        with group.together():
            self._fit(model, train, validation, [*callbacks, alike], self.epochs_done)

    def fit_baseline(self, name, model, train, validation=None, *, callbacks=()):
        """Trains a model to compare with, as `fit` trains, for the same goal, but keeps no file.

        Args:
            name: String, of the baseline.
            model, train, validation, callbacks: As for `fit`.
        """
        print(f"{name}:")
        fitting.build(model, train)
        stop = fitting.baseline_callbacks(*self._goal, self._config.patience)
        self._fit(model, train, validation, [*callbacks, *stop])

    def _fit(self, model, train, validation, callbacks, initial_epoch=0):
        model.fit(
            train,
            validation_data=validation,
            epochs=self._config.epochs,
            initial_epoch=initial_epoch,
            callbacks=callbacks,
            verbose=(1 if sys.stdout.isatty() else 2) if processes.is_first() else 0,
        )

    def publish(
        self,
        model,
        data,
        *,
        title,
        scores,
        baselines,
        exports,
        card,
        plot="accuracy",
        details=None,
        maps=(),
    ):
        """Saves the model, draws the history, writes metrics and card, and finishes the folder.

        Args:
            model: The Keras model to use.
            data: A `data.dataset.Dataset`.
            title: String, of the model card.
            scores, baselines: As for `records.show_scores`.
            exports: Dict, as `kit.exports.export` returns it.
            card: Dict, heading to Markdown, in the order of the card. "Data and licence" comes
                after the first of them by itself, and the figures come before the last.
            plot: String, the name of the metric that is drawn beside the loss.
            details: Dict of whatever else was measured, and how.
            maps: List of `explaining.Maps`, attention maps to be tested; see `explaining`.
        """
        main = next(iter(scores))
        numbers = {
            name: value[main] if isinstance(value, dict) else value
            for name, value in baselines.items()
        }
        details = {"examples": data.sizes, **(details or {})}
        if processes.group() is not None:
            details["processes"] = processes.group().count
        if numbers != baselines:
            details["baseline_scores"] = baselines
        if maps:
            reports = explaining.measure(maps, self.path, explaining.title_of(self.recipe))
            details["explanation"] = {unit: found.to_dict() for unit, found in reports.items()}
            *first, last = card.items()
            section = {explaining.HEADING: explaining.section(maps, reports)}
            card = {**dict(first), **section, **dict([last])}
        model.save(self.path / "model.keras")
        records.plot_history(self.history, self.path / "history.png", metric=plot)
        metrics = records.write_metrics(
            self.path,
            recipe=self.recipe,
            data=data.name,
            seed=self._config.seed,
            scores=scores,
            baselines=numbers,
            minutes=self._training_minutes,
            epochs=self.epochs_done,
            parameters=model.count_params(),
            exports=exports,
            details=details,
            settings=dataclasses.asdict(self._config),
        )
        (first, text), *others = card.items()
        sections = {first: text, "Data and licence": data.about, **dict(others)}
        sections[next(reversed(sections))] += f"\n\n{_how_to_load(model)}"
        records.write_model_card(self.path, title=title, sections=sections, metrics=metrics)
        self.finish()


class _TrainedAlong(Exception):
    """Training is over for a process that is not the first."""


def _how_to_load(model):
    """The card's sentence on `model.keras`, whose classes are registered by importing them."""
    from keras_attention.layer import layers_below

    classes = {type(model), *(type(layer) for _, layer in layers_below(model))}
    modules = sorted({cls.__module__ for cls in classes if cls.__module__.startswith("recipes.")})
    needed = " and ".join(f"`import {name}`" for name in modules or ["keras_attention"])
    return (
        f'`keras.saving.load_model("model.keras", compile=False)` needs {needed} before it, in a '
        "checkout of keras_attention; the SavedModel and the TFLite files need neither."
    )
