// Runs a policy exported by `spinup export RUN --to torchscript` with LibTorch alone:
//   torchscript_policy policy.torchscript 0.1 0.2 0.3    prints the action for the observation (0.1, 0.2, 0.3).
// g++ -std=c++20 -O1 torchscript_policy.cpp -I$T/include -I$T/include/torch/csrc/api/include -L$T/lib
//     -Wl,-rpath,$T/lib -ltorch -ltorch_cpu -lc10, where T is LibTorch or the folder of Python's torch.
#include <torch/script.h>

#include <cstdlib>
#include <iostream>
#include <vector>

int main(int argc, char** argv) {
    torch::jit::ExtraFilesMap about{{"env", ""}};
    torch::jit::Module policy = torch::jit::load(argv[1], torch::kCPU, about);
    std::cerr << "trained in " << about["env"] << "\n";
    std::vector<float> numbers;
    for (int i = 2; i < argc; ++i) numbers.push_back(std::strtof(argv[i], nullptr));
    torch::NoGradGuard no_grad;
    torch::Tensor obs = torch::tensor(numbers).unsqueeze(0);  // a batch of one observation
    torch::Tensor action = policy.forward({obs}).toTensor()[0].to(torch::kDouble).reshape({-1});
    std::cout.precision(9);
    for (int i = 0; i < action.numel(); ++i) std::cout << action[i].item<double>() << "\n";
}
