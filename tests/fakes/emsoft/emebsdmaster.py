"""Stand-in for EMEBSDmaster: one energy after the other, restarts, and everything told to go wrong.

The maps are real ones.  A restarted run forms the depth weights as EMsoft does, with the wavelength
of the energy at which it begins, from the depth histogram that is in the file.
"""

from __future__ import annotations

import os
import time

from control import orders
from fortran import fatal, hdf_error, read_namelist, segmentation_fault
from screen import data_file, misbehave, need_crystal, print_crystal, say, start, xtal_file

KEYS: dict[str, object] = {
    **{"dmin": 0.025, "npx": 500, "nthreads": 1, "doLegendre": False, "energyfile": "undefined"},
    **{"BetheParametersFile": "BetheParameters.nml", "Notify": "Off"},
    **{"copyfromenergyfile": "undefined", "h5copypath": "undefined", "restart": False},
    **{"uniform": False, "useEnergyWeighting": False, "combinesites": False, "Esel": -1},
    "stdout": 6,
}
BETHE: dict[str, object] = {"c1": 8.0, "c2": 50.0, "c3": 100.0, "sgdbdiff": 1.0}


class Weights:
    """Depth weights of EMsoft, for intensities summed over depth with a mean attenuation."""

    def __init__(self, crystal: dict, voltage: float, step: float) -> None:
        from ebsdsg_sim.crystal import Crystal, Site
        from ebsdsg_sim.elements import element_symbol
        from ebsdsg_sim.symmetry import hall_number_for

        rows = crystal["AtomData"].T.astype(float)
        group = int(crystal["SpaceGroupNumber"][0])
        sites = tuple(
            Site(element_symbol(int(z)), tuple(r[:3]), round(r[3], 6), round(r[4], 7))
            for z, r in zip(crystal["Atomtypes"], rows, strict=True)
        )
        hall = hall_number_for(group, int(crystal["SpaceGroupSetting"][0]))
        self.crystal = Crystal("x", tuple(crystal["LatticeParameters"]), group, hall, sites)
        self.voltage, self.step = voltage, step

    def intensity(self, accum_z, index: int, energy: float, begun_at: float) -> float:
        """Relative intensity of an energy in a run that began at another one."""
        import numpy as np
        from ebsdsg_sim.structure_factors import absorption_length

        counts = accum_z.transpose(3, 2, 1, 0)
        depth = np.arange(counts.shape[1]) * self.step
        length = absorption_length(self.crystal, energy, begun_at)
        weights = counts[index].sum(axis=(1, 2)) * np.exp(2 * np.pi * depth / length)
        attenuation = np.exp(-2 * np.pi * depth / absorption_length(self.crystal, energy))
        pixels = counts.reshape(*counts.shape[:2], -1).transpose(0, 2, 1)
        below = np.cumsum(pixels, axis=2)
        terms = (below < 0.99 * below[:, :, -1:]).sum(axis=2).max(axis=1) + 1
        thickness = np.maximum.accumulate(terms)[index]
        return float((weights * attenuation).sum() / thickness)


def open_monte_carlo(values: dict[str, object], name: str) -> str:
    """Path of the energy file, after the checks that EMsoft makes."""
    import h5py

    if values["energyfile"] == "undefined":
        fatal("GetEBSDMasterNameList:", f" output (energy) file name is undefined in {name}")
    path = data_file(str(values["energyfile"]))
    if not os.path.isfile(path):
        fatal("readEBSDMonteCarloFile", "Monte Carlo input file does not exist")
    if not h5py.is_hdf5(path):
        fatal("readEBSDMonteCarloFile", "This is not a proper HDF5 file")
    with h5py.File(path, "r") as file:
        if "NMLparameters/MCCLNameList" not in file:
            text = "This HDF file does not contain Monte Carlo header data"
            fatal("ComputeMasterPattern", text)
        for key in ("devid", "globalworkgrpsz"):
            if key not in file["NMLparameters/MCCLNameList"]:
                hdf_error(f"HDF_readDatasetInteger:h5dopen_f:{key}")
    return path


def bethe(name: str) -> dict[str, object]:
    """Cut-offs; a missing file is not reported."""
    return read_namelist(name, "Bethelist", BETHE) if os.path.isfile(name) else BETHE


def prepare(path: str, values: dict[str, object], cut_offs: dict[str, object]) -> bool:
    """Create the groups of zeros; whether the arrays of a finished file have another shape."""
    import h5py
    import numpy as np
    from reference import TEXT, put

    with h5py.File(path, "r+") as file:
        energies = int(file["EMData/MCOpenCL/numEbins"][0])
        mc = file["NMLparameters/MCCLNameList"]
        sites = int(file["CrystalData/Natomtypes"][0])
        side = 2 * int(values["npx"]) + 1
        shape = (1 if values["combinesites"] else sites, energies, side, side)
        group = file.require_group("EMData/EBSDmaster")
        if "mLPNH" in group:
            group["lastEnergy"][0] = -1
            return group["mLPNH"].shape != shape
        group.attrs["HDF_FileVersion"] = np.array([b"4.0"])
        for name in ("mLPNH", "mLPSH"):
            group[name] = np.zeros(shape, dtype=np.float32)
        for name in ("masterSPNH", "masterSPSH"):
            group[name] = np.zeros(shape[1:], dtype=np.float32)
        steps = mc["Ehistmin"][0] + mc["Ebinsize"][0] * np.arange(energies)
        group["EkeVs"] = steps.astype(np.float32)
        group["BetheParameters"] = np.array(list(cut_offs.values()), dtype=np.float32)
        group["Z2percent"] = np.full(sites, 100 / sites, dtype=np.float32)
        for name, value in (("lastEnergy", -1), ("numEbins", energies), ("numset", shape[0])):
            put(group, name, value)
        group.create_dataset("xtalname", data=mc["xtalname"][()], dtype=TEXT)
        header = file.create_group("EMheader/EBSDmaster")
        for name in ("Date", "HostName", "StartTime", "StopTime", "UserEmail", "UserLocation"):
            put(header, name, "Nov 22 2026")
        put(header, "UserName", "Ref")
        put(header, "ProgramName", "EMEBSDmaster.f90")
        put(header, "Version", "5_0_4_d50c973")
        header["Duration"] = np.array([0], dtype=np.float32)
        names = file.create_group("NMLparameters/EBSDMasterNameList")
        for name, value in values.items():
            if name == "dmin":
                names[name] = np.array([value], dtype=np.float32)
            elif name not in ("Notify", "h5copypath"):
                put(names, name, value)
        put(names, "latgridtype", "Lambert")
        names = file.create_group("NMLparameters/BetheList")
        for name, value in cut_offs.items():
            names[name] = np.array([value], dtype=np.float32)
        text = [f" {name} = {value}".encode() for name, value in values.items()]
        file.create_dataset("NMLfiles/EBSDmasterNML", data=text, dtype=TEXT)
    return False


def main() -> None:
    import h5py
    import numpy as np
    from reference import histograms, maps, read_crystal, reference

    begun = time.monotonic()
    name = start("EMEBSDmaster")
    values = read_namelist(name, "EBSDmastervars", KEYS)
    path = open_monte_carlo(values, os.path.basename(name))
    cut_offs = bethe(str(values["BetheParametersFile"]))
    with h5py.File(path, "r") as file:
        xtal = file["NMLparameters/MCCLNameList/xtalname"][0].decode().strip()
        voltage = float(file["NMLparameters/MCCLNameList/EkeV"][0])
        step = float(file["NMLparameters/MCCLNameList/depthstep"][0])
        total = int(file["EMData/MCOpenCL/accum_e"][()].sum())
        energies = int(file["EMData/MCOpenCL/numEbins"][0])
        lowest = float(file["NMLparameters/MCCLNameList/Ehistmin"][0])
        width = float(file["NMLparameters/MCCLNameList/Ebinsize"][0])
        accum_z = file["EMData/MCOpenCL/accum_z"][()]
        electrons = int(
            np.prod([file[f"EMData/MCOpenCL/{n}"][0] for n in ("totnum_el", "multiplier")])
        )
        last = int(file["EMData/EBSDmaster/lastEnergy"][0]) if "EBSDmaster" in file["EMData"] else 0
        source = reference(file["CrystalData"])
    say(f" --> total number of BSE electrons in MC data set {total:11d}")
    need_crystal(xtal_file(xtal))
    crystal = read_crystal(xtal_file(xtal))
    print_crystal(crystal)
    order = orders("EMEBSDmaster", xtal)
    if "energy" not in order:
        misbehave(order)
    first = energies
    if values["restart"]:
        if last == 0:
            hdf_error("HDF_openGroup:H5Gopen_f:EBSDmaster")
            segmentation_fault()
        if last == 1:
            say("All energy levels are present in the HDF5 file\nNo further computations needed.")
            say("STOP Program halted.")
            os._exit(0)
        first = last - 1 if last > 0 else energies
        other_shape = False
    else:
        other_shape = prepare(path, values, cut_offs)
    north, south = maps(source, int(values["npx"]), crystal)
    side = 2 * (accum_z.shape[0] // 2) * 10 + 1
    reference_z = histograms(source, energies, accum_z.shape[2], side, electrons)["accum_z"]
    weights = Weights(crystal, voltage, step)
    begun_at = lowest + width * (first - 1)
    for number in range(first, 0, -1):
        energy = lowest + width * (number - 1)
        bin_of = f"{number:3d} of {first:4d}; energy [keV] = {energy:5.2f}"
        say(f"\n\n Starting computation for energy bin (in reverse order) {bin_of}")
        say("\n# independent beam directions to be considered =      29")
        if order.get("energy") == number:
            misbehave(order)
        time.sleep(float(order.get("per_energy", 0)))
        index = number - 1
        factor = 1.0
        if values["restart"]:
            factor = weights.intensity(accum_z, index, energy, begun_at) / weights.intensity(
                reference_z, index, energy, voltage
            )
        if values["restart"] and last == -1:
            factor = float("nan")
        say(f" -> Average number of strong reflections = {60 - number:4d}")
        say(" -> Average number of weak reflections   =   24")
        say(f"Execution time [s]: {time.monotonic() - begun:11.0f}")
        with h5py.File(path, "r+") as file:
            group = file["EMData/EBSDmaster"]
            for key, half in (("NH", north), ("SH", south)):
                new = half[:, index] * np.float32(factor)
                if order.get("do") == "corrupt" and order.get("energy") == number:
                    new = new * np.nan if order.get("how") == "NaN" else np.zeros_like(new)
                if values["uniform"]:
                    new = np.ones_like(new)
                if not other_shape:
                    group[f"mLP{key}"][:, index] = new
                    group[f"masterSP{key}"][index] = new.sum(axis=0)
            group["lastEnergy"][0] = number
        if other_shape and number == 1:
            hdf_error("HDF_writeHyperslabFloatArray3D:h5dopen_f:masterSPNH")
        say(f"{'Final' if number == 1 else 'Intermediate'} data stored in file {path}")
    say("\nTotal execution time [s]          46")


if __name__ == "__main__":
    main()
