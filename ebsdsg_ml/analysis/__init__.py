"""The paper's analyses: documents in, tables (lists of plain dictionaries) out.

Documents are plain dictionaries as the database gives them: training runs (``per_phase``,
``confusion``), structures (``material_id``, ``composition``, ``prototype``), answers of
:mod:`ebsdsg_ml.predict`.  Nothing is read or written here.
"""
