#!/usr/bin/env bash
# Compiles the locked OpenCV from its source package, without FFmpeg and with only what Facet uses,
# so that no GPL code gets into a release. AVFoundation reads video and cameras. Needs a Mac with Xcode's tools.
#   build_opencv.sh OUTPUT_FOLDER
set -euo pipefail

readonly out=$1
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p "$out"

# The hashed lines of this one package, so that the source is checked like every wheel.
lock=$(mktemp)
trap 'rm -f "$lock"' EXIT
awk '/^opencv-python-headless==/ {on=1} on {print} on && !/\\$/ {exit}' requirements.lock > "$lock"

export MACOSX_DEPLOYMENT_TARGET=${MACOSX_DEPLOYMENT_TARGET:-15.0}
export ENABLE_HEADLESS=1 ENABLE_CONTRIB=0
export CMAKE_ARGS="-DCMAKE_OSX_ARCHITECTURES=arm64 \
-DBUILD_LIST=core,imgproc,imgcodecs,videoio,video,geometry,features,calib3d,features2d,flann,photo,python3 \
-DWITH_FFMPEG=OFF -DWITH_GSTREAMER=OFF -DWITH_AVFOUNDATION=ON -DOPENCV_FFMPEG_USE_FIND_PACKAGE=OFF \
-DBUILD_ZLIB=ON -DBUILD_PNG=ON -DBUILD_JPEG=ON -DBUILD_WEBP=ON -DBUILD_TIFF=ON \
-DWITH_OPENEXR=OFF -DWITH_OPENJPEG=OFF -DWITH_JASPER=OFF -DWITH_AVIF=OFF -DWITH_JPEGXL=OFF \
-DWITH_OPENCL=OFF -DWITH_OPENCLAMDBLAS=OFF -DWITH_PROTOBUF=OFF -DWITH_QT=OFF -DWITH_LAPACK=OFF \
-DBUILD_TESTS=OFF -DBUILD_PERF_TESTS=OFF -DBUILD_EXAMPLES=OFF -DBUILD_opencv_apps=OFF"

python3 -m pip wheel --no-deps --no-binary :all: --require-hashes --wheel-dir "$out" -r "$lock"

# No library beside the module itself: anything found here came from the build machine.
if unzip -l "$out"/opencv_python_headless-*.whl | grep -E '\.dylib$'; then
  echo "libraries of this machine got into the wheel" >&2
  exit 1
fi
