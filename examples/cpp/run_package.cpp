// Predict a frame with a package of tools/export.py: libtorch and no Python.
//
//   run_package net.pt2 --image FRAME.ppm --cloud FRAME.bin --calib FRAME.txt --out FRAME.npy
//
// The calibration is KITTI text with P2, R0_rect and Tr_velo_to_cam; the cloud is float32 rows of
// x, y, z, intensity. --image and --calib can be repeated, once for each camera.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include <ATen/Version.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

#ifdef WITH_OPENCV
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#endif

namespace {

using Metadata = std::unordered_map<std::string, std::string>;
using Clock = std::chrono::steady_clock;

double milliseconds(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double, std::milli>(end - begin).count();
}

template <typename Value>
std::vector<Value> split(const std::string& text) {
  std::istringstream stream(text);
  std::vector<Value> values;
  for (Value value; stream >> value;) values.push_back(value);
  return values;
}

std::vector<char> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// RGB (H, W, 3), uint8.
torch::Tensor read_image(const std::string& path) {
#ifdef WITH_OPENCV
  cv::Mat image = cv::imread(path, cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION);
  if (image.empty()) throw std::runtime_error("cannot read the image " + path);
  cv::cvtColor(image, image, cv::COLOR_BGR2RGB);
  return torch::from_blob(image.data, {image.rows, image.cols, 3}, torch::kUInt8).clone();
#else
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  int64_t width = 0, height = 0, most = 0;
  file >> kind >> width >> height >> most;
  file.get();
  if (!file || kind != "P6" || most != 255)
    throw std::runtime_error(path + ": expected a PPM of 8 bits (P6); others need OpenCV");
  auto image = torch::empty({height, width, 3}, torch::kUInt8);
  file.read(reinterpret_cast<char*>(image.data_ptr<uint8_t>()), image.numel());
  if (!file) throw std::runtime_error(path + " is truncated");
  return image;
#endif
}

// Rows of x, y, z [m], intensity 0-1.
torch::Tensor read_cloud(const std::string& path, int64_t columns, double intensity_max) {
  const auto bytes = read_file(path);
  const int64_t row = columns * sizeof(float);
  if (bytes.size() % row)
    throw std::runtime_error(path + ": expected rows of " + std::to_string(columns) + " float32");
  auto points = torch::empty({static_cast<int64_t>(bytes.size()) / row, columns});
  std::memcpy(points.data_ptr<float>(), bytes.data(), bytes.size());
  auto intensity = points.select(1, 3);
  const double most = intensity.numel() ? intensity.max().item<double>() : 0.0;
  if (most > intensity_max || (points.size(0) > 100 && most > 0 && most <= intensity_max / 255))
    throw std::runtime_error(path + ": intensities up to " + std::to_string(most) +
                             "; state the largest one with --intensity-max");
  intensity.div_(intensity_max);
  return points;
}

// pixel_from_lidar (4, 4): maps (x, y, z, 1) [m] to (u d, v d, d, 1).
torch::Tensor read_projection(const std::string& path) {
  std::ifstream file(path);
  std::map<std::string, std::vector<double>> rows;
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(':');
    if (colon != std::string::npos)
      rows[line.substr(0, colon)] = split<double>(line.substr(colon + 1));
  }
  auto product = torch::eye(4, torch::kFloat64);
  for (const auto& [key, columns] : {std::pair{"P2", 4}, {"R0_rect", 3}, {"Tr_velo_to_cam", 4}}) {
    if (rows[key].size() != static_cast<size_t>(3 * columns))
      throw std::runtime_error(path + ": expected " + std::to_string(3 * columns) +
                               " numbers as " + key);
    auto matrix = torch::eye(4, torch::kFloat64);
    matrix.slice(0, 0, 3).slice(1, 0, columns) =
        torch::tensor(rows[key], torch::kFloat64).view({3, columns});
    product = product.matmul(matrix);
  }
  return product.to(torch::kFloat32);
}

// A .npy file of a uint8 tensor.
void write_grid(const std::string& path, const torch::Tensor& grid) {
  std::string shape;
  for (const auto length : grid.sizes()) shape += (shape.empty() ? "" : ", ") + std::to_string(length);
  std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (" + shape + "), }";
  header.append(64 - (10 + header.size() + 1) % 64, ' ').push_back('\n');
  std::ofstream file(path, std::ios::binary);
  file.write("\x93NUMPY\x01\x00", 8);
  file.put(static_cast<char>(header.size() & 0xff)).put(static_cast<char>(header.size() >> 8));
  file << header;
  file.write(reinterpret_cast<const char*>(grid.data_ptr<uint8_t>()), grid.numel());
  if (!file) throw std::runtime_error("cannot write " + path);
}

struct Options {
  std::string package, cloud, out;
  std::vector<std::string> images, calibs;
  double intensity_max = 255.0;
  int repeat = 1;
};

Options parse(int count, char** words) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word.rfind("--", 0) != 0) {
      options.package = word;
      continue;
    }
    if (i + 1 == count) throw std::runtime_error(word + " needs a value");
    const std::string value = words[++i];
    if (word == "--image") options.images.push_back(value);
    else if (word == "--calib") options.calibs.push_back(value);
    else if (word == "--cloud") options.cloud = value;
    else if (word == "--out") options.out = value;
    else if (word == "--intensity-max") options.intensity_max = std::stod(value);
    else if (word == "--repeat") options.repeat = std::stoi(value);
    else throw std::runtime_error("unknown option " + word);
  }
  if (options.package.empty() || options.out.empty() || options.repeat < 1)
    throw std::runtime_error("usage: run_package net.pt2 --image FILE --cloud FILE --calib FILE "
                             "--out FILE.npy [--intensity-max X] [--repeat N]");
  return options;
}

std::vector<torch::Tensor> read_frame(const Options& options, const Metadata& about) {
  std::map<std::string, torch::Tensor> given;
  if (about.count("images.shape")) {
    if (options.images.empty() || options.images.size() != options.calibs.size())
      throw std::runtime_error("pass --image and --calib for each camera of the package");
    std::vector<torch::Tensor> images, projections;
    for (const auto& path : options.images) images.push_back(read_image(path));
    for (const auto& path : options.calibs) projections.push_back(read_projection(path));
    given["images"] = torch::stack(images);
    given["pixel_from_lidar"] = torch::stack(projections);
  }
  if (about.count("points.shape")) {
    const auto shape = split<int64_t>(about.at("points.shape"));
    const auto points = read_cloud(options.cloud, shape[1], options.intensity_max);
    if (points.size(0) > shape[0])
      throw std::runtime_error(options.cloud + ": " + std::to_string(points.size(0)) +
                               " points; the package has room for " + std::to_string(shape[0]));
    given["points"] = torch::zeros(shape);
    given["points"].slice(0, 0, points.size(0)) = points;
    given["num_points"] = torch::tensor(points.size(0), torch::kInt64);
  }
  std::vector<torch::Tensor> inputs;
  for (const auto& name : split<std::string>(about.at("inputs"))) {
    const auto shape = split<int64_t>(about.at(name + ".shape"));
    if (given.at(name).sizes() != c10::IntArrayRef(shape))
      throw std::runtime_error(name + ": expected the shape " + about.at(name + ".shape"));
    inputs.push_back(given.at(name).to(torch::Device(about.at("device"))));
  }
  return inputs;
}

int run(const Options& options) {
  torch::NoGradGuard no_grad;
  const auto began = Clock::now();
  torch::inductor::AOTIModelPackageLoader network(options.package);
  const auto loaded = Clock::now();
  const Metadata about = network.get_metadata();
  const auto capability = at::get_cpu_capability();
  if (about.at("device") == "cpu" && capability != "AVX512" &&
      about.at("AOTI_CPU_ISA").find("AVX512") != std::string::npos)
    throw std::runtime_error(options.package + ": code for " + about.at("AOTI_CPU_ISA") +
                             "; this CPU has " + capability);
  const auto inputs = read_frame(options, about);
  const auto names = split<std::string>(about.at("outputs"));

  std::map<std::string, torch::Tensor> outputs;
  std::vector<double> times_ms;
  for (int i = 0; i < options.repeat; ++i) {
    const auto start = Clock::now();
    const auto found = network.run(inputs);
    for (size_t k = 0; k < names.size(); ++k) outputs[names[k]] = found[k];
    outputs["occupancy"] = outputs["occupancy"].cpu().contiguous();  // Waits for a GPU.
    times_ms.push_back(milliseconds(start, Clock::now()));
  }
  write_grid(options.out, outputs["occupancy"]);
  if (outputs.count("dropped_voxels") && outputs["dropped_voxels"].item<int64_t>())
    std::cerr << "warning: " << outputs["dropped_voxels"].item<int64_t>()
              << " voxels of the LiDAR had no room\n";

  const auto classes = split<std::string>(about.at("classes"));
  const auto counts = outputs["occupancy"].flatten().to(torch::kInt64).bincount();
  for (int64_t label = 0; label < counts.numel(); ++label)
    if (const auto number = counts[label].item<int64_t>())
      std::cout << classes[label] << ' ' << number << '\n';
  const double first_ms = times_ms.front();
  std::nth_element(times_ms.begin(), times_ms.begin() + times_ms.size() / 2, times_ms.end());
  std::cout << "loaded in " << milliseconds(began, loaded) / 1e3 << " s, first frame " << first_ms
            << " ms, median " << times_ms[times_ms.size() / 2] << " ms of " << times_ms.size()
            << '\n';
  return 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    return run(parse(count, words));
  } catch (const std::exception& error) {
    std::cerr << "run_package: " << error.what() << '\n';
    return 1;
  }
}
