"""Info.plist and entitlements, with the reason beside each key that is not obvious."""

from __future__ import annotations

import plistlib
from pathlib import Path

from facet_bundle import facts

# A hardened app without these strings is killed when it opens the device.
CAMERA_TEXT = (
    "Facet looks through the camera only while you have it switched on. "
    "Pictures are understood on this Mac and never leave it."
)
MICROPHONE_TEXT = (
    "Facet listens only while you have the microphone switched on. "
    "Sound is understood on this Mac and never leaves it."
)

# (name, uniform type identifiers) of what can be dropped on the Dock icon or opened with Facet.
DOCUMENT_TYPES = (
    ("Picture", ("public.image",)),
    ("PDF document", ("com.adobe.pdf",)),
    ("Sound", ("public.audio",)),
    ("Video", ("public.movie",)),
    ("Text", ("public.plain-text", "net.daringfireball.markdown")),
)

# Hardened runtime exceptions, each needed:
ENTITLEMENTS = {
    # AVFoundation and PortAudio. `device.microphone` is the sandbox's key and has no effect here.
    "com.apple.security.device.camera": True,
    "com.apple.security.device.audio-input": True,
    # libffi writes the trampolines of cffi callbacks (PortAudio, libsndfile) at run time.
    "com.apple.security.cs.allow-unsigned-executable-memory": True,
}


def _document_types() -> list[dict[str, object]]:
    """Rank Alternate: Facet is offered for these files and never takes them over."""
    return [
        {
            "CFBundleTypeName": name,
            "CFBundleTypeRole": "Viewer",
            "LSHandlerRank": "Alternate",
            "LSItemContentTypes": list(identifiers),
        }
        for name, identifiers in DOCUMENT_TYPES
    ]


def info_plist(version: str) -> dict[str, object]:
    """The bundle's Info.plist."""
    return {
        "CFBundleDevelopmentRegion": "en",
        "CFBundleDisplayName": facts.NAME,
        "CFBundleDocumentTypes": _document_types(),
        "CFBundleExecutable": facts.NAME,
        "CFBundleIconFile": facts.NAME,
        "CFBundleIdentifier": facts.BUNDLE_ID,
        "CFBundleInfoDictionaryVersion": "6.0",
        "CFBundleName": facts.NAME,
        "CFBundlePackageType": "APPL",
        "CFBundleShortVersionString": version,
        "CFBundleVersion": version,
        "LSApplicationCategoryType": "public.app-category.productivity",
        "LSArchitecturePriority": [facts.ARCHITECTURE],
        "LSMinimumSystemVersion": facts.floor_text(),
        "LSMultipleInstancesProhibited": True,
        "NSCameraUsageDescription": CAMERA_TEXT,
        "NSHighResolutionCapable": True,
        "NSHumanReadableCopyright": "Apache License 2.0",
        "NSMicrophoneUsageDescription": MICROPHONE_TEXT,
        "NSPrincipalClass": "NSApplication",
        "NSRequiresAquaSystemAppearance": False,
        "NSSupportsAutomaticGraphicsSwitching": True,
    }


def write(contents: Path, version: str) -> None:
    """Info.plist and PkgInfo of a bundle's Contents folder."""
    with (contents / "Info.plist").open("wb") as file:
        plistlib.dump(info_plist(version), file, sort_keys=True)
    (contents / "PkgInfo").write_bytes(b"APPL????")


def write_entitlements(path: Path) -> None:
    """The file that codesign reads for the main program."""
    with path.open("wb") as file:
        plistlib.dump(ENTITLEMENTS, file, sort_keys=True)
