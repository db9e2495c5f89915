"""CIF files are read for what they say, and refused when they do not say it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ebsdsg_flows.atom_labels import element_of_label, element_of_type
from ebsdsg_flows.atoms import StructureError
from ebsdsg_flows.cif import read_cif
from ebsdsg_flows.cif_symmetry import hall_number_of, parse_operation, symmetry_choices
from ebsdsg_flows.structures import document_from_cif
from ebsdsg_sim.crystal import Crystal
from ebsdsg_sim.symmetry import setting

HEAD = """data_test
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
{symmetry}
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{atoms}
"""
NICKEL = "Ni1 Ni 0 0 0 1"
FM3M = "_symmetry_space_group_name_H-M 'F m -3 m'\n_symmetry_Int_Tables_number 225"


def write(
    folder: Path, a: str = "3.524", symmetry: str = FM3M, atoms: str = NICKEL, name: str = "x.cif"
) -> Path:
    path = folder / name
    path.write_text(HEAD.format(a=a, symmetry=symmetry, atoms=atoms), encoding="utf-8")
    return path


def test_nickel_from_the_name_of_its_group(tmp_path: Path) -> None:
    document = document_from_cif(write(tmp_path))
    assert (document.formula, document.space_group.number, document.n_atoms) == ("Ni", 225, 4)
    assert document.density == pytest.approx(8.909, abs=0.01)
    assert document.source.kind == "cif"
    assert document.source.identifier == "x.cif"
    assert document.notes == []
    assert Crystal.from_dict(document.crystal).cell[0] == pytest.approx(0.3524, abs=1e-9)


def test_uncertainties_in_parentheses(tmp_path: Path) -> None:
    document = document_from_cif(write(tmp_path, a="3.524(3)", atoms="Ni1 Ni0 0.000(1) 0. .0 1.0"))
    assert document.crystal["cell"][0] == pytest.approx(0.3524)


def test_operations_decide_before_names(tmp_path: Path) -> None:
    operations = "loop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\n'x+1/2, y+.5, z'\n"
    operations += "'x+1/2,y,z+1/2'\n'x,1/2+y,1/2+z'"
    document = document_from_cif(write(tmp_path, symmetry=operations))
    assert (document.space_group.number, document.n_atoms) == (225, 4)


def test_round_trip_of_every_phase_of_the_experiment(tmp_path: Path, shared: Path) -> None:
    import gzip
    import json

    from pymatgen.core import Structure
    from pymatgen.io.cif import CifWriter

    from ebsdsg_flows.structures import structure_document

    with gzip.open(shared / "data/structures/phases18.json.gz", "rt") as stream:
        phases = json.load(stream)
    for phase in phases[:17]:
        structure = Structure.from_dict(phase["structure"])
        path = tmp_path / f"{phase['phase']}.cif"
        CifWriter(structure, symprec=0.1, refine_struct=True).write_file(str(path))
        direct = structure_document(structure, phase["phase"])
        read = document_from_cif(path)
        assert read.space_group.number == direct.space_group.number
        assert read.n_atoms == direct.n_atoms
        assert read.relabel.number == direct.relabel.number
        assert read.density == pytest.approx(direct.density, rel=1e-3)
        assert read.notes == []


class TestOrigin:
    """Fd-3m with silicon at 1/8 1/8 1/8: 8 atoms with origin choice 2, 16 with choice 1."""

    SILICON = "Si1 Si 0.125 0.125 0.125 1"
    NAME = "_symmetry_space_group_name_H-M 'F d -3 m{}'\n_symmetry_Int_Tables_number 227"

    def silicon(self, folder: Path, suffix: str = "", more: str = "", atoms: str = SILICON) -> Path:
        return write(folder, "5.4307", self.NAME.format(suffix) + "\n" + more, atoms)

    def test_left_open_is_refused_with_both_densities(self, tmp_path: Path) -> None:
        words = r"Fd-3m needs an origin choice.*4\.66 g/cm\^3 with choice 1, 2\.33 g/cm\^3 with"
        with pytest.raises(StructureError, match=words):
            read_cif(self.silicon(tmp_path))

    @pytest.mark.parametrize("suffix", [":2", ":Z", " :2"])
    def test_named_in_the_symbol(self, tmp_path: Path, suffix: str) -> None:
        document = document_from_cif(self.silicon(tmp_path, suffix))
        assert (document.n_atoms, document.density) == (8, pytest.approx(2.33, abs=0.01))
        assert document.space_group.hall_number == 526
        assert document.space_group.origin_choice == 2

    def test_choice_one_is_brought_to_choice_two(self, tmp_path: Path) -> None:
        document = document_from_cif(self.silicon(tmp_path, ":1", atoms="Si1 Si 0 0 0 1"))
        assert (document.n_atoms, document.space_group.hall_number) == (8, 526)
        assert document.density == pytest.approx(2.33, abs=0.01)

    @pytest.mark.parametrize(
        "more",
        [
            "_exptl_crystal_density_diffrn 2.33",
            "_cell_formula_units_Z 8\n_chemical_formula_sum Si",
            "_symmetry_space_group_name_Hall '-F 4vw 2vw 3'",
        ],
    )
    def test_decided_by_what_else_the_file_says(self, tmp_path: Path, more: str) -> None:
        assert document_from_cif(self.silicon(tmp_path, "", more)).n_atoms == 8

    def test_density_that_fits_neither_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(StructureError, match="needs an origin choice"):
            read_cif(self.silicon(tmp_path, "", "_exptl_crystal_density_diffrn 3.5"))


class TestSpecialCases:
    def test_thirds_with_four_digits_stay_on_their_position(self, tmp_path: Path) -> None:
        # magnesium: two atoms, of which rounding of 1/3 must not make more
        path = tmp_path / "mg.cif"
        path.write_text(
            "data_mg\n_cell_length_a 3.209\n_cell_length_b 3.209\n_cell_length_c 5.211\n"
            "_cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 120\n"
            "_symmetry_Int_Tables_number 194\nloop_\n_atom_site_label\n_atom_site_fract_x\n"
            "_atom_site_fract_y\n_atom_site_fract_z\nMg1 0.3333 0.6667 0.25\n",
            encoding="utf-8",
        )
        document = document_from_cif(path)
        assert (document.n_atoms, document.space_group.number) == (2, 194)
        assert document.density == pytest.approx(1.737, abs=0.01)

    def test_mixed_and_partial_occupancy(self, tmp_path: Path) -> None:
        atoms = "Fe1 Fe3+ 0 0 0 0.5\nNi1 Ni 0 0 0 0.25\nC1 C 0.5 0.5 0.5 0.1"
        document = document_from_cif(write(tmp_path, atoms=atoms))
        crystal = Crystal.from_dict(document.crystal)
        assert {(s.element, s.occupancy) for s in crystal.sites} == {
            ("Fe", 0.5),
            ("Ni", 0.25),
            ("C", 0.1),
        }
        assert document.space_group.number == 225
        assert document.n_atoms == 8
        assert document.composition == {"C": 0.4, "Fe": 2.0, "Ni": 1.0}

    def test_deuterium_counts_as_hydrogen_and_says_so(self, tmp_path: Path) -> None:
        atoms = "Pd1 Pd 0 0 0 1\nD1 D 0.5 0.5 0.5 0.6"
        document = document_from_cif(write(tmp_path, "4.03", atoms=atoms))
        assert document.elements == ["H", "Pd"]
        assert any("D is treated as H" in note for note in document.notes)

    def test_a_wrong_group_in_the_file_is_noted(self, tmp_path: Path) -> None:
        # nickel written in Pm-3m with its four atoms
        atoms = "Ni1 Ni 0 0 0 1\nNi2 Ni 0.5 0.5 0 1"
        document = document_from_cif(
            write(tmp_path, symmetry="_space_group_IT_number 221", atoms=atoms)
        )
        assert document.space_group.number == 225
        assert any("says space group 221" in note for note in document.notes)

    def test_same_file_same_identifier(self, tmp_path: Path) -> None:
        first = read_cif(write(tmp_path, name="a.cif")).identifier
        assert read_cif(write(tmp_path, name="a.cif")).identifier == first
        assert read_cif(write(tmp_path, a="3.53", name="a.cif")).identifier != first


ELEMENTS = {
    "Fe1": "Fe", "Fe1A": "Fe", "FeA": "Fe", "FeM2": "Fe", "NI1": "Ni", "Ca_1": "Ca", "Al(1)": "Al",
    "Fe3+": "Fe", "SiT1": "Si", "FeOct": "Fe", "O1W": "O", "OW2": "O", "Ow": "O", "OH": "O",
    "OBO": "O", "Wat": "O", "H1A": "H", "Hw1": "H", "D1": "D", "W1": "W", "Va": None, "Vac1": None,
    "T1": None, "Dum": None, "Tet1": None, "Oct1": None, "Uiso": None, "Bond": None, "NH4": None,
    "SiAl": None, "HO1": None, "M1": None, "Me": None, "Alk": None, "1Fe": None, "": None,
    # groups, and a second element
    "H2O": "O", "H2O1": "O", "PO4": None, "CO3": None, "SO4": None, "NO3": None, "H3O": None,
    "CO1": "Co", "OH2": "O", "Fe,Mg": None, "Fe/Mg1": None, "Fe3Mg1": None, "Ca1Sr1": None,
    "Al.5Si.5": None, "K_Na": None, "fe,mg": None, "H/D": None, "Mg(OH)2": None, "Fe1,A": "Fe",
    "C1B": "C", "Al1A'": "Al", "Ca1a": "Ca", "O_eq": "O", "Al(T1)": "Al", "C_sp3": "C",
    # Roman numbers
    "FeI": "Fe", "FeII": "Fe", "FeIII": "Fe", "OI": "O", "OII": "O", "AlIV": "Al", "AlVI": "Al",
    "O(I)": "O", "Fe(II)": "Fe", "SiV": "Si", "CI": "C", "I": "I", "V": "V", "NI": "Ni",
    "SIV": None, "NII": None, "BII": None, "VI": None, "IV": None, "III": None, "VIII": None,
}  # fmt: skip


class TestLabels:
    @pytest.mark.parametrize("label", ELEMENTS)
    def test_a_label_is_an_element_or_none(self, label: str) -> None:
        assert element_of_label(label) == ELEMENTS[label]

    def test_a_type_symbol_may_be_tritium(self) -> None:
        found = [element_of_type(text) for text in ("T", "D", "Fe3+", "O2-", "NI", "Tet", "?")]
        assert found == ["T", "D", "Fe", "O", "Ni", None, None]

    @pytest.mark.parametrize(
        ("symbol", "element"),
        [
            ("HO", "Ho"), ("HO+3", "Ho"), ("HO3+", "Ho"), ("CO3+", "Co"), ("CO", "Co"),
            ("Cval", "C"), ("Siva", "Si"), ("VA", None), ("PO4", None), ("CO3", None),
            ("Fe3+Ni2+", None), ("Fe,Mg", None), ("H2O", "O"), ("OH-", "O"),
        ],
    )  # fmt: skip
    def test_a_type_symbol_in_capitals_is_an_element(
        self, symbol: str, element: str | None
    ) -> None:
        assert element_of_type(symbol) == element

    def test_a_label_that_names_none_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path, atoms="Si1 0 0 0 1\nT1 0.5 0.5 0.5 1")
        path.write_text(path.read_text().replace("_atom_site_type_symbol\n", ""))
        with pytest.raises(StructureError, match=r"'T1' does not name .* add _atom_site_type_sym"):
            read_cif(path)
        path.write_text(path.read_text().replace("T1", "OW"))
        assert document_from_cif(path).elements == ["O", "Si"]


def cell_for(hall: int) -> tuple[float, ...]:
    """Lengths and angles of a cell of a setting, such that no other axes fit."""
    found = setting(hall)
    if found.space_group <= 2:
        return (0.5, 0.6, 0.7, 80, 85, 95)
    if found.space_group <= 15:
        axis = found.choice.lstrip("-")[0]
        return (0.5, 0.6, 0.7, *(100 if axis == x else 90 for x in "abc"))
    if found.choice == "R":
        return (0.5, 0.5, 0.5, 70, 70, 70)
    return (0.5, 0.5, 0.7, 90, 90, 120 if 143 <= found.space_group <= 194 else 90)


def read_as(hall: int, cell: tuple[float, ...] | None = None, **data: str) -> list[int | None]:
    """Settings as which names are read in a cell of a setting."""
    items = {f"_space_group_{key}": value for key, value in data.items()}
    return [
        hall_number_of(choice) for choice in symmetry_choices("x", items, cell or cell_for(hall))
    ]


def first_like(hall: int) -> int:
    """The first setting with the operations of a setting: some of group 68 are the same."""
    symbol = setting(hall).hall_symbol
    return next(h for h in range(1, 531) if setting(h).hall_symbol == symbol)


class TestNames:
    """A file without operations is read in the setting that it names, or not at all."""

    @pytest.mark.parametrize("sign", ['"', "="])
    def test_every_hall_symbol_is_its_own_setting(self, sign: str) -> None:
        for hall in range(1, 531):
            symbol = setting(hall).hall_symbol.replace('"', sign).replace(" ", "  ")
            number = str(setting(hall).space_group)
            assert read_as(hall, name_Hall=symbol, IT_number=number) == [first_like(hall)]

    def test_every_symbol_is_its_own_setting(self) -> None:
        others = {}
        for hall in range(1, 531):
            found = setting(hall)
            suffix = f":{found.choice}" if found.choice[:1] in ("1", "2", "H", "R") else ""
            read = read_as(hall, **{"name_H-M_alt": found.full + suffix})
            if read != [first_like(hall)]:
                others[hall] = read
        # Cmma and Cmmb, Abmm and Acmm … are one symbol since 1992: the usual one is meant, if
        # there is one, or the density decides
        both = {318: [318, 319], 319: [318, 319], 320: [320, 321], 321: [320, 321]}
        assert others == {317: [316], **both}

    @pytest.mark.parametrize(
        ("symbol", "group", "hall"),
        [
            ("P b n m", 62, 294),
            ("P 1 21/n 1", 14, 82),
            ("P 21/n", 14, 82),
            ("P2(1)/a", 14, 83),
            ("I 2/a", 15, 92),
            ("B 2/b", 15, 99),
            ("P 1 1 21/b", 14, 86),
            ("C m c a", 64, 304),
            ("B m a b", 64, 309),
            ("C m m b", 67, 317),
            ("A b a a :2", 68, 327),
            ("P 21/n 21/m 21/a", 62, 292),
            ("F m 3 m", 225, 523),
            ("F 4/m -3 2/m", 225, 523),
            ("F d -3 m S", 227, 525),
            ("F d 3 m Z", 227, 526),
            ("R -3 m H", 166, 458),
            ("R -3 m :R", 166, 459),
            ("P 3 2 1", 150, 439),
            ("R -3 m HR", 166, 458),
            ("R 3 c hr", 161, 452),
            ("F d -3 m (origin choice 2)", 227, 526),
            ("F d -3 m (Origin 1)", 227, 525),
            ("F d -3 m origin choice 2", 227, 526),
            ("F d -3 m O2", 227, 526),
            ("F d -3 m o 1", 227, 525),
            ("*F m 3 m", 225, 523),
            ("P 6~3~/m m c", 194, 488),
            ("P 1 2_{1}/n 1", 14, 82),
        ],
    )
    @pytest.mark.parametrize("numbered", [True, False])
    def test_other_settings_named_by_their_symbol(
        self, symbol: str, group: int, hall: int, numbered: bool
    ) -> None:
        number = {"IT_number": str(group)} if numbered else {}
        assert setting(hall).space_group == group
        assert read_as(hall, **{"name_H-M_alt": symbol, **number}) == [hall]

    def test_the_unique_axis_is_told_by_the_cell(self) -> None:
        name = {"name_H-M_alt": "P 21/m", "IT_number": "11"}
        assert [read_as(hall, **name) for hall in (60, 61)] == [[60], [61]]
        assert read_as(60, (0.5, 0.6, 0.7, 90, 90, 90), **name) == [60]
        with pytest.raises(StructureError, match="angles of the cell, 90, 90, 100, are not"):
            read_as(61, IT_number="11")

    @pytest.mark.parametrize(
        ("suffix", "gamma"),
        [("", "120"), ("", "119.99"), ("", "120.02"), (" :H", "120.02"), (" :H", "119.5")],
    )
    def test_bismuth_on_axes_that_are_nearly_hexagonal(
        self, tmp_path: Path, suffix: str, gamma: str
    ) -> None:
        symmetry = f"_symmetry_space_group_name_H-M 'R -3 m{suffix}'\n"
        path = write(
            tmp_path, "4.5", symmetry + "_symmetry_Int_Tables_number 166", "Bi1 Bi 0 0 0.234 1"
        )
        text = path.read_text().replace("length_c 4.5", "length_c 11.9")
        path.write_text(text.replace("gamma 90", f"gamma {gamma}"))
        assert len(read_cif(path).structure) == 6
        if gamma != "119.5":
            document = document_from_cif(path)
            assert (document.space_group.number, document.n_atoms) == (166, 6)
            assert document.notes == []

    @pytest.mark.parametrize(
        ("suffix", "cell", "words"),
        [
            ("", (0.45, 0.45, 1.19, 90, 90, 119.5), "hexagonal or rhombohedral axes"),
            ("", (0.45, 0.45, 1.19, 57, 57, 57), "4.5, 4.5, 11.9, 57, 57, 57, are not"),
            ("", (0.47, 0.47, 0.47, 57, 57, 58), "57, 57, 58, are not those of R -3 2/m"),
            (" :H", (0.47, 0.47, 0.47, 57, 57, 57), "166, hexagonal axes"),
            (" :R", (0.45, 0.45, 1.19, 90, 90, 120), "166, rhombohedral axes"),
        ],
    )
    def test_trigonal_axes_that_the_cell_has_not(
        self, suffix: str, cell: tuple[float, ...], words: str
    ) -> None:
        with pytest.raises(StructureError, match=words):
            read_as(458, cell, **{"name_H-M_alt": f"R -3 m{suffix}"})
        nearly = (0.474, 0.4741, 0.474, 57.2, 57.25, 57.2)
        assert read_as(459, nearly, **{"name_H-M_alt": "R -3 m"}) == [459]

    def test_perovskite_on_other_axes_has_its_twenty_atoms(self, tmp_path: Path) -> None:
        atoms = "Gd1 Gd -0.0156 0.0627 0.25 1\nFe1 Fe 0.5 0 0 1\n"
        atoms += "O1 O 0.1005 0.4672 0.25 1\nO2 O -0.3015 0.3009 0.0505 1"
        symmetry = "_symmetry_space_group_name_H-M 'P b n m'\n_symmetry_Int_Tables_number 62"
        path = write(tmp_path, "5.349", symmetry, atoms)
        text = path.read_text().replace("length_b 5.349", "length_b 5.611")
        path.write_text(text.replace("length_c 5.349", "length_c 7.669"))
        document = document_from_cif(path)
        assert (document.n_atoms, document.space_group.number) == (20, 62)
        assert (document.formula, document.notes) == ("GdFeO3", [])

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            (
                {"name_H-M_alt": "P m -3 m", "IT_number": "225"},
                "'P m -3 m' is that of space group 221, the number in the file is 225",
            ),
            (
                {"name_Hall": "-P 3 2", "IT_number": "164"},
                "Hall symbol '-P 3 2' is that of space group 162, the number in the file is 164",
            ),
            ({"name_H-M_alt": "C -1", "IT_number": "2"}, "C -1 is the symbol of no tabulated"),
            ({"name_H-M_alt": "P 63/m m c :R", "IT_number": "194"}, "of no tabulated setting"),
            ({"name_H-M_alt": "P 63/m m c HR", "IT_number": "194"}, "of no tabulated setting"),
            ({"name_H-M_alt": "F d -3 m O3", "IT_number": "227"}, "of no tabulated setting"),
            (
                {"name_Hall": "-P 2ybc (x-z,y,z)", "IT_number": "14"},
                r"'-P 2ybc \(x-z,y,z\)' has a change of basis",
            ),
            (
                {"name_Hall": "-P 2ac 2n (0 0 1)", "name_H-M_alt": "P n m a"},
                "has a change of basis",
            ),
            ({"name_Hall": "-P 2c 2abn"}, "'-P 2c 2abn' is that of no tabulated setting"),
            ({"name_Hall": "-P 2c 2abn", "IT_number": "62"}, "is that of no tabulated setting"),
            ({"name_Hall": "-P 2c 2abn", "name_H-M_alt": "P q"}, "is that of no tabulated setting"),
        ],
    )
    def test_contradictions_and_unknown_symbols_are_refused(
        self, names: dict[str, str], words: str
    ) -> None:
        with pytest.raises(StructureError, match=f"{words}.*add _space_group_symop"):
            read_as(1, **names)


def test_an_unknown_hall_symbol_beside_a_known_name_is_noted(tmp_path: Path) -> None:
    symmetry = f"{FM3M}\n_symmetry_space_group_name_Hall '-F 4 2 9'"
    document = document_from_cif(write(tmp_path, symmetry=symmetry))
    assert document.space_group.number == 225
    assert document.notes == ["the Hall symbol '-F 4 2 9' is not known; read as F m -3 m"]


@pytest.mark.parametrize(
    ("text", "rotation", "translation"),
    [
        ("x,y,z", np.eye(3), [0, 0, 0]),
        ("-y, x-y, z+1/3", [[0, -1, 0], [1, -1, 0], [0, 0, 1]], [0, 0, 1 / 3]),
        ("1/2+X, .5-Y, Z-0.3333", [[1, 0, 0], [0, -1, 0], [0, 0, 1]], [0.5, 0.5, -1 / 3]),
    ],
)
def test_operations(text: str, rotation: object, translation: object) -> None:
    found = parse_operation("t", text)
    np.testing.assert_array_equal(found[0], rotation)
    np.testing.assert_allclose(found[1], translation, atol=1e-12)


BAD = {
    "not a CIF": ("this is not a cif", "holds no structure"),
    "empty": ("", "holds no structure"),
    "cut in the atoms": (HEAD.format(a=3.5, symmetry=FM3M, atoms="Ni1 Ni 0 0"), "CIF|needs"),
    "letters": (HEAD.format(a="abc", symmetry=FM3M, atoms=NICKEL), "_cell_length_a is 'abc'"),
    "NaN cell": (HEAD.format(a="nan", symmetry=FM3M, atoms=NICKEL), "'nan', which is not a number"),
    "negative cell": (HEAD.format(a="-3.5", symmetry=FM3M, atoms=NICKEL), "must be positive"),
    "zero cell": (HEAD.format(a="0", symmetry=FM3M, atoms=NICKEL), "must be positive"),
    "NaN coordinate": (
        HEAD.format(a="3.5", symmetry=FM3M, atoms="Ni1 Ni 0 nan 0 1"),
        "atom Ni1: _atom_site_fract_y is 'nan'",
    ),
    "missing coordinate": (
        HEAD.format(a="3.5", symmetry=FM3M, atoms="Ni1 Ni 0 ? 0 1"),
        r"_atom_site_fract_y is '\?'",
    ),
    "unknown element": (HEAD.format(a="3.5", symmetry=FM3M, atoms="Xx1 Xx 0 0 0 1"), "'Xx' is not"),
    "element beyond the tables": (
        HEAD.format(a="3.5", symmetry=FM3M, atoms="Og1 Og 0 0 0 1"),
        "'Og' is not a known element",
    ),
    "occupancy above 1": (
        HEAD.format(a="3.5", symmetry=FM3M, atoms="Ni1 Ni 0 0 0 1.2"),
        "occupancy 1.2 must be between 0 and 1",
    ),
    "occupancies above 1 together": (
        HEAD.format(a="3.5", symmetry=FM3M, atoms="Ni1 Ni 0 0 0 0.7\nFe1 Fe 0 0 0 0.6"),
        "together fill it 1.300 times",
    ),
    "overlapping atoms": (
        HEAD.format(a="3.5", symmetry=FM3M, atoms="Ni1 Ni 0 0 0 1\nFe1 Fe 0.05 0 0 1"),
        "overlap",
    ),
    "no symmetry": (HEAD.format(a="3.5", symmetry="", atoms=NICKEL), "no symmetry operations"),
    "unknown group": (
        HEAD.format(a="3.5", symmetry="_symmetry_Int_Tables_number 300", atoms=NICKEL),
        "'300' must be from 1 to 230",
    ),
    "broken operation": (
        HEAD.format(a="3.5", symmetry="_symmetry_equiv_pos_as_xyz 'x,y,q'", atoms=NICKEL),
        "symmetry operation 'x,y,q' is not readable",
    ),
    "operation divided by nothing": (
        HEAD.format(a="3.5", symmetry="_symmetry_equiv_pos_as_xyz 'x,y,z+1/0'", atoms=NICKEL),
        r"symmetry operation 'x,y,z\+1/0' is not readable",
    ),
    "flat cell": (
        HEAD.format(a="3.5", symmetry=FM3M, atoms=NICKEL).replace("gamma 90", "gamma 180"),
        "between 0 and 180",
    ),
    "impossible angles": (
        HEAD.format(a="3.5", symmetry=FM3M, atoms=NICKEL)
        .replace("alpha 90", "alpha 30")
        .replace("beta 90", "beta 30"),
        "do not make a cell",
    ),
    "no cell": (
        HEAD.format(a="3.5", symmetry=FM3M, atoms=NICKEL).replace("_cell_length_b 3.5\n", ""),
        "_cell_length_b missing",
    ),
    "two structures": (
        HEAD.format(a="3.5", symmetry=FM3M, atoms=NICKEL)
        + HEAD.format(a="3.6", symmetry=FM3M, atoms=NICKEL).replace("data_test", "data_more"),
        r"holds 2 structures \(test, more\)",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_every_fault_is_one_clear_error(tmp_path: Path, fault: str) -> None:
    text, words = BAD[fault]
    path = tmp_path / "bad.cif"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StructureError, match=words) as error:
        document_from_cif(path)
    assert "bad.cif" in str(error.value)
    assert "\n" not in str(error.value)


def test_binary_rubbish_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.cif"
    path.write_bytes(bytes(range(256)) * 20)
    with pytest.raises(StructureError):
        read_cif(path)


def test_missing_file() -> None:
    with pytest.raises(StructureError, match=r"nowhere\.cif: no such file"):
        read_cif("nowhere.cif")


def test_a_block_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "two.cif"
    path.write_text(BAD["two structures"][0], encoding="utf-8")
    assert read_cif(path, block="more").structure.lattice.a == pytest.approx(3.6)
    with pytest.raises(StructureError, match="no structure in a block 'third'"):
        read_cif(path, block="third")
